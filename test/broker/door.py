"""What stands before a broker that lets in by tokens of AWS's IAM, over TLS.

Shakes hands, looks at the token as MSK does (signature, host, times), and
passes everything else on.  A thread for each connection: the broker behind it
sees a plain socket.
"""
import base64
import collections
import hashlib
import hmac
import json
import select
import socket
import ssl
import struct
import threading
import time
import urllib.parse

FAILED = 58                     # SASL_AUTHENTICATION_FAILED


def text(value):
    return struct.pack('>h', -1) if value is None else struct.pack('>h', len(value.encode('utf-8', 'surrogateescape'))) + value.encode('utf-8', 'surrogateescape')


def blob(value):
    return struct.pack('>i', len(value)) + value


class Refused(Exception):
    pass


def check_token(token, secrets, now):
    """The parameters of a token; Refused with the reason if it is none."""
    try:
        url = base64.urlsafe_b64decode(token + '=' * (-len(token) % 4)).decode()
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=True))
        key, date, region, service, last = query['X-Amz-Credential'].split('/')
        signature = query.pop('X-Amz-Signature')
        query.pop('User-Agent')
        begin = time.strptime(query['X-Amz-Date'], '%Y%m%dT%H%M%SZ')
        lifetime = int(query['X-Amz-Expires'])
    except (ValueError, KeyError, UnicodeDecodeError) as e:
        raise Refused(f'malformed token: {e}') from None
    if (query['Action'], service, last, query['X-Amz-Date'][:8]) != (
            'kafka-cluster:Connect', 'kafka-cluster', 'aws4_request', date):
        raise Refused('malformed token')
    if parts.netloc != f'kafka.{region}.amazonaws.com' or (parts.scheme, parts.path) != ('https', '/'):
        raise Refused('another host')
    if key not in secrets:
        raise Refused('unknown access key')
    secret, session = secrets[key]
    if query.get('X-Amz-Security-Token') != session:
        raise Refused('wrong security token')
    canonical = '&'.join(sorted(
        urllib.parse.quote(k, safe='-._~') + '=' + urllib.parse.quote(v, safe='-._~') for k, v in query.items()))
    request = f'GET\n/\n{canonical}\nhost:{parts.netloc}\n\nhost\n' + hashlib.sha256(b'').hexdigest()
    scope = f'{date}/{region}/{service}/aws4_request'
    to_sign = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n" + hashlib.sha256(request.encode()).hexdigest()
    signing = b'AWS4' + secret.encode()
    for step in scope.split('/') + [to_sign]:
        signing = hmac.digest(signing, step.encode(), 'sha256')
    if not hmac.compare_digest(signing.hex(), signature):
        raise Refused('wrong signature')
    begin = time.mktime(begin) - time.timezone
    if not 0 < lifetime <= 900 or not begin - 300 <= now <= begin + lifetime:
        raise Refused('the token is not valid at this time')
    return query


class Door:
    def __init__(self, certificate, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.secrets = {}       # access key: (secret, session token or None)
        self.refuse = None      # everybody, with this reason
        self.session = None     # seconds until a connection is cut
        self.skew = 0           # of this broker's clock
        self.counts = collections.Counter()
        self.tokens = set()
        self.reasons = set()

    def admit(self, sock):
        """A socket for the broker behind the door."""
        inside, outside = socket.socketpair()
        threading.Thread(target=self.run, args=(sock, outside), daemon=True).start()
        return inside

    def run(self, sock, inner):
        try:
            sock.settimeout(10)
            with self.context.wrap_socket(sock, server_side=True) as client:
                if self.let_in(client, inner):
                    self.pass_on(client, inner)
        except (OSError, ssl.SSLError):
            pass
        finally:
            inner.close()
            sock.close()

    def let_in(self, client, inner):
        refused = None
        while True:
            frame = read_frame(client)
            if frame is None:
                return False
            api, _, correlation, name_len = struct.unpack_from('>hhih', frame)
            body = frame[10 + max(name_len, 0):]
            if api == 18:
                inner.sendall(blob(frame))
                client.sendall(blob(read_frame(inner) or b''))
            elif api == 17:
                client.sendall(blob(struct.pack('>ihi', correlation, 0, 1) + text('OAUTHBEARER')))
            elif api == 36 and refused:
                client.sendall(blob(struct.pack('>ih', correlation, FAILED) + text(refused) + blob(b'')))
                return False
            elif api == 36:
                refused = self.login(body[4:].decode())
                answer = json.dumps({'status': 'invalid_token'}).encode() if refused else b''
                client.sendall(blob(struct.pack('>ih', correlation, 0) + text(None) + blob(answer)))
                if not refused:
                    return True
            else:
                return False

    def login(self, message):
        """Why not; None: welcome."""
        try:
            if self.refuse:
                raise Refused(self.refuse)
            start = message.index('auth=Bearer ') + len('auth=Bearer ')
            token = message[start:message.index('\x01', start)]
            check_token(token, self.secrets, time.time() + self.skew)
        except Refused as e:
            self.counts['refused'] += 1
            self.reasons.add(str(e).replace(' ', '_'))
            return str(e)
        self.counts['welcome'] += 1
        self.tokens.add(token)
        return None

    def pass_on(self, client, inner):
        end = time.monotonic() + self.session if self.session else None
        client.setblocking(False)
        while True:
            wait = None if end is None else max(end - time.monotonic(), 0)
            ready = [client] if client.pending() else select.select([client, inner], [], [], wait)[0]
            if end and time.monotonic() >= end:
                return
            if client in ready:
                try:
                    data = client.recv(1 << 16)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    continue
                if not data:
                    return
                inner.sendall(data)
            if inner in ready:
                data = inner.recv(1 << 16)
                if not data:
                    return
                send_all(client, data)


def send_all(client, data):
    while data:
        try:
            data = data[client.send(data):]
        except ssl.SSLWantWriteError:
            select.select([], [client], [])
        except ssl.SSLWantReadError:
            select.select([client], [], [])


def read_exactly(sock, size):
    data = b''
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            return None
        data += more
    return data


def read_frame(sock):
    head = read_exactly(sock, 4)
    return head and read_exactly(sock, struct.unpack('>i', head)[0])
