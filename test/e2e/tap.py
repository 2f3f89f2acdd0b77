"""What a test says: TAP, and how far it is."""
import time
import traceback

BEGAN = time.monotonic()


def progress(text):
    print(f'# {time.monotonic() - BEGAN:5.0f} s  {text}', flush=True)


class Tap:
    count = failed = 0

    def ok(self, good, what, detail=''):
        self.count += 1
        if not good:
            self.failed += 1
        print(f'{"" if good else "not "}ok {self.count} - {what}', flush=True)
        if not good:
            for line in str(detail).splitlines()[:30]:
                print('#   ' + line, flush=True)

    def skip(self, what, why):
        self.count += 1
        print(f'ok {self.count} - {what} # SKIP {why}', flush=True)

    def equal(self, got, want, what):
        self.ok(got == want, what, f'got  {got!r}\nwant {want!r}')

    def section(self, function, *args):
        """Run a part; an error in it is one failed test, and the rest goes on."""
        try:
            function(*args)
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[1]
            of = getattr(function, '__self__', None)
            self.ok(False, ' '.join([getattr(of, 'name', type(of).__name__) if of else '', function.__name__,
                                     *(a for a in args if isinstance(a, str))]).strip(),
                    f'line {where.lineno}: {where.line}\n{type(e).__name__}: {e}')


tap = Tap()
