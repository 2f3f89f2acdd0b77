"""Certificates, good ones and bad ones, made by openssl."""
import datetime
import os

from services import run

SETTINGS = '''
[ca]
default_ca = authority
[authority]
database = {dir}/index
serial = {dir}/serial
new_certs_dir = {dir}
default_md = sha256
policy = anything
unique_subject = no
[anything]
commonName = supplied
[req]
distinguished_name = nothing
prompt = no
[nothing]
CN = nobody
[root]
basicConstraints = critical, CA:true
'''

LOOPBACK = 'DNS:localhost, IP:127.0.0.1'


def after(seconds):
    """A time as openssl wants it."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime('%Y%m%d%H%M%SZ')


def read(path):
    with open(path, encoding='ascii') as f:
        return f.read()


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, root, name):
        self.dir = os.path.join(root, name)
        os.makedirs(self.dir)
        self.path = os.path.join(self.dir, 'ca.pem')
        self.settings = os.path.join(self.dir, 'settings')
        with open(self.settings, 'w', encoding='ascii') as f:
            f.write(SETTINGS.format(dir=self.dir))
        for file, text in (('index', ''), ('serial', '01\n')):
            with open(os.path.join(self.dir, file), 'w', encoding='ascii') as f:
                f.write(text)
        self.key = self.make_key('ca')
        self.openssl('req', '-x509', '-new', '-key', self.key, '-subj', f'/CN={name}', '-days', '3650',
                     '-extensions', 'root', '-out', self.path)
        self.pem = read(self.path)

    def openssl(self, command, *args):
        config = ('-config', self.settings) if command in ('req', 'ca') else ()
        run(['openssl', command, *config, *args], cwd=self.dir)

    def make_key(self, name):
        path = os.path.join(self.dir, name + '.key')
        # in PKCS#8, which Java wants
        self.openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', path)
        return path

    def issue(self, name, hosts=LOOPBACK, start='20200101000000Z', end='20991231000000Z'):
        """A certificate and its key: two PEM texts."""
        key = self.make_key(name)
        request, result = (os.path.join(self.dir, name + suffix) for suffix in ('.csr', '.pem'))
        extensions = os.path.join(self.dir, name + '.ext')
        with open(extensions, 'w', encoding='ascii') as f:
            f.write(f'subjectAltName = {hosts}\n')
        self.openssl('req', '-new', '-key', key, '-subj', f'/CN={name}', '-out', request)
        self.openssl('ca', '-batch', '-notext', '-cert', self.path, '-keyfile', self.key, '-in', request,
                     '-extfile', extensions, '-startdate', start, '-enddate', end, '-out', result)
        return read(result), read(key)

    def encrypted(self, name, password):
        """The key of that name, encrypted with a password, as PEM text."""
        path = os.path.join(self.dir, name + '.encrypted')
        self.openssl('pkcs8', '-topk8', '-in', os.path.join(self.dir, name + '.key'), '-v2', 'aes-256-cbc',
                     '-passout', 'pass:' + password, '-out', path)
        return read(path)
