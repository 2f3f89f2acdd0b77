#!/usr/bin/python3
"""Our signatures against those of AWS's own Python signer, on random inputs.

usage: signers.py UNIT_AWS [COUNT]

Tokens are compared with those of aws-msk-iam-sasl-signer-python, headers of
signed requests with those of botocore, which it brings along.  Both are
installed into an environment of their own below the directory of UNIT_AWS, and
found there the next time; where that cannot be done, the test is skipped.
"""
import base64
import datetime
import os
import random
import string
import subprocess
import sys
import urllib.parse

PACKAGE = 'aws-msk-iam-sasl-signer-python'
LETTERS = string.ascii_letters + string.digits
REGIONS = ['us-east-1', 'eu-central-1', 'ap-southeast-2', 'us-gov-west-1', 'cn-north-1', 'x']


def skip(reason):
    print(f'1..0 # SKIP no {PACKAGE}: {reason}')
    sys.exit(0)


def enter_environment(directory):
    """Run again with the Python that has the package, which is installed if need be."""
    python = os.path.join(directory, 'bin', 'python3')
    check = [python, '-c', 'import aws_msk_iam_sasl_signer']
    if not os.path.exists(python) or subprocess.run(check, capture_output=True).returncode != 0:
        for command in ([sys.executable, '-m', 'venv', directory],
                        [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check',
                         '--timeout', '10', '--retries', '1', PACKAGE]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=180)
            except (OSError, subprocess.TimeoutExpired) as e:
                skip(e)
            if done.returncode != 0:
                skip((done.stderr.strip() or done.stdout.strip() or 'pip fails').splitlines()[-1])
    os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:], '--inside'])


def word(rng, letters, low, high):
    return ''.join(rng.choice(letters) for _ in range(rng.randint(low, high)))


def random_credentials(rng):
    token = word(rng, LETTERS + '/+=', 1, 3000) if rng.random() < 0.6 else None
    return word(rng, string.ascii_uppercase + string.digits, 16, 32), word(rng, LETTERS + '/+', 1, 80), token


def random_time(rng):
    return rng.choice([rng.randrange(0, 2 ** 31), rng.randrange(1_700_000_000, 1_900_000_000),
                       rng.randrange(2 ** 31, 7_000_000_000), rng.randrange(300_000_000, 946_684_800)])


class Clock:
    """Botocore's, which we set."""

    def __init__(self):
        import botocore.auth
        self.now = None
        if hasattr(botocore.auth, 'get_current_datetime'):
            botocore.auth.get_current_datetime = lambda *args, **kwargs: self.now
        else:
            clock = self

            class Frozen(datetime.datetime):
                @classmethod
                def utcnow(cls):
                    return clock.now

            botocore.auth.datetime.datetime = Frozen

    def set(self, seconds):
        self.now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)


def ask(program, mode, lines):
    done = subprocess.run([program, mode], input=''.join(lines), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def parts(token):
    url = base64.urlsafe_b64decode(token + '=' * (-len(token) % 4)).decode()
    split = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qsl(split.query, keep_blank_values=True, strict_parsing=True)
    return split[:3], sorted(p for p in query if p[0] != 'User-Agent')


def compare_tokens(program, rng, clock, count):
    import aws_msk_iam_sasl_signer.MSKAuthTokenProvider as signer
    from botocore.credentials import CredentialProvider, Credentials

    class Given(CredentialProvider):
        def __init__(self, *values):
            super().__init__()
            self.values = values

        def load(self):
            return Credentials(*self.values)

    inputs, lines = [], []
    for _ in range(count):
        region, moment, values = rng.choice(REGIONS), random_time(rng), random_credentials(rng)
        inputs.append((region, moment, values))
        lines.append(' '.join([region, str(moment), '0', 'agent/1', *(v for v in values if v)]) + '\n')
    failed = 0
    for (region, moment, values), ours in zip(inputs, ask(program, 'sign', lines), strict=True):
        clock.set(moment)
        theirs, expiry = signer.generate_auth_token_from_credentials_provider(region, Given(*values))
        our_expiry, our_token = ours.split()
        if parts(our_token) != parts(theirs) or int(our_expiry) != expiry or our_token.rstrip('=') != our_token:
            failed += 1
            print(f'another token: {region} {moment} {values}\n  {parts(our_token)}\n  {parts(theirs)}')
    return failed


def compare_headers(program, rng, clock, count):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    inputs, lines = [], []
    for _ in range(count):
        post = rng.random() < 0.5
        host = rng.choice(['sts.eu-central-1.amazonaws.com', '127.0.0.1:8080', 'kafka.us-east-1.amazonaws.com'])
        arn = 'arn:aws:kafka:eu-west-1:1:cluster/' + word(rng, LETTERS + '-', 1, 20) + '/' + word(rng, LETTERS, 1, 9)
        path = '/' if post else '/v1/clusters/' + urllib.parse.quote(arn, safe='') + '/bootstrap-brokers'
        body = word(rng, LETTERS + '=&%', 1, 300) if post else ''
        case = (post, host, path, rng.choice(REGIONS), random_time(rng), random_credentials(rng), body)
        inputs.append(case)
        lines.append(' '.join(['POST' if post else 'GET', host, path, case[3], str(case[4]), body or '-',
                               *(v for v in case[5] if v)]) + '\n')
    failed = 0
    for case, ours in zip(inputs, ask(program, 'headers', lines), strict=True):
        post, host, path, region, moment, values, body = case
        clock.set(moment)
        request = AWSRequest(method='POST' if post else 'GET', url=f'http://{host}{path}', data=body,
                             headers={'Content-Type': 'text/x'} if post else {})
        SigV4Auth(Credentials(*values), 'service', region).add_auth(request)
        if request.headers['Authorization'] != ours:
            failed += 1
            print(f"another header: {case}\n  {ours}\n  {request.headers['Authorization']}")
    return failed


def main():
    program = os.path.abspath(sys.argv[1])
    if sys.argv[-1] != '--inside':
        enter_environment(os.path.join(os.path.dirname(program), 'signer'))
    count = int(sys.argv[2]) if len(sys.argv) > 3 else 1000
    seed = random.randrange(1 << 32)
    rng, clock = random.Random(seed), Clock()
    failed = compare_tokens(program, rng, clock, count) + compare_headers(program, rng, clock, count)
    if failed:
        print(f'seed {seed}')
    print(f'signers: {2 * count - failed} passed, {failed} failed')
    sys.exit(1 if failed else 0)


main()
