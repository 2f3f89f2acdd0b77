#!/usr/bin/python3
"""The services of AWS that hand out credentials, on 127.0.0.1, for tests.

Security token service, metadata service of EC2 (imds), agent of a container,
the service of Amazon MSK that tells brokers.  Signatures are verified.  Prints
its port, then reads commands, one a line, and answers each with "ok [..]".

    mode SERVICE MODE       ok; or for every request: silent 403 404 500 json
                            (no JSON or XML) expired bad (a line end in the key)
                            big (endless) redirect; once500 (the first alone)
                            SERVICE: sts imds container msk
    key ACCESS_KEY SECRET [TOKEN]   whose signatures are good
    external ID             sts: the role wants it; - none
    agent TOKEN             container: what it wants to see; - nothing
    web TOKEN               sts: the web identity
    lifetime SECONDS        of what is handed out
    skew SECONDS            how far this clock is ahead
    brokers NAME LIST       msk: a member of its answer
    seen                    requests since the last time, "METHOD PATH[?ACTION]" each

Credentials of a service: key ASIA<SERVICE>, secret <service>/secret+, token
<service>/token+==, service in capitals in the key.
"""
import hashlib
import hmac
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

state = {
    'mode': {}, 'keys': {}, 'external': None, 'agent': None, 'web': 'web.identity.token', 'lifetime': 3600.0,
    'skew': 0.0, 'brokers': {}, 'seen': [],
}


def iso(seconds):
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds))


def credentials(service):
    """Name -> value, in the spelling of the metadata service."""
    lifetime = -60 if state['mode'].get(service) == 'expired' else state['lifetime']
    key = f'ASIA{service.upper()}'
    if state['mode'].get(service) == 'bad':
        key += '\r\nX-Injected: 1'
    return {'Code': 'Success', 'AccessKeyId': key, 'SecretAccessKey': f'{service}/secret+',
            'Token': f'{service}/token+==', 'Expiration': iso(time.time() + lifetime)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + state['skew'])

    def reply(self, status, body='', headers=()):
        data = body.encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def fault(self, service):
        """Answer as the mode says; False: as usual."""
        mode = state['mode'].get(service, 'ok')
        if mode == 'silent':
            time.sleep(8)
            self.close_connection = True
        elif mode in ('403', '404', '500'):
            self.reply(int(mode), '{"message": "no"}')
        elif mode == 'once500':
            state['mode'][service] = 'ok'
            self.reply(500)
        elif mode == 'json':
            self.reply(200, '<html>{"AccessKeyId": "x"')
        elif mode == 'redirect':
            self.reply(302, '', [('Location', 'http://127.0.0.1:9/')])
        elif mode == 'big':
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(b' ' * 65536)
            except OSError:
                pass
            self.close_connection = True
        else:
            return False
        return True

    def signature_problem(self, body, service):
        """Why the signature is no good; None if it is."""
        try:
            fields = dict(part.strip().split('=', 1) for part in
                          self.headers['Authorization'].split(' ', 1)[1].split(','))
            key, date, region, name, _ = fields['Credential'].split('/')
            names = fields['SignedHeaders'].split(';')
            stamp = self.headers['X-Amz-Date']
        except (TypeError, AttributeError, KeyError, ValueError, IndexError):
            return 'MissingAuthenticationToken', 'Request is missing Authentication Token'
        if key not in state['keys']:
            return 'InvalidClientTokenId', 'The security token included in the request is invalid.'
        secret, token = state['keys'][key]
        if self.headers.get('X-Amz-Security-Token') != token or not {'host', 'x-amz-date'} <= set(names) or \
                (token is not None) != ('x-amz-security-token' in names):
            return 'InvalidClientTokenId', 'The security token included in the request is invalid.'
        canonical = '\n'.join([self.command, urllib.parse.quote(self.path), '',
                               *(f'{n}:{self.headers[n]}' for n in names), '', ';'.join(names),
                               hashlib.sha256(body).hexdigest()])
        scope = f'{date}/{region}/{name}/aws4_request'
        signing = b'AWS4' + secret.encode()
        for step in [*scope.split('/'), f'AWS4-HMAC-SHA256\n{stamp}\n{scope}\n'
                     + hashlib.sha256(canonical.encode()).hexdigest()]:
            signing = hmac.digest(signing, step.encode(), 'sha256')
        if name != service or signing.hex() != fields['Signature']:
            # AWS repeats what it has got, all headers included
            return 'SignatureDoesNotMatch', f'The request signature we calculated does not match.\n{canonical}'
        begin = time.mktime(time.strptime(stamp, '%Y%m%dT%H%M%SZ')) - time.timezone
        if abs(begin - time.time() - state['skew']) > 300:
            return 'SignatureDoesNotMatch', 'Signature expired: it is too old'
        return None

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        parameters = dict(urllib.parse.parse_qsl(body.decode()))
        action = parameters.get('Action')
        state['seen'].append(f'{self.command} {self.path}' + (f'?{action}' if action else ''))
        if self.path.startswith('/latest/'):
            self.fault('imds') or self.imds()
        elif self.path.startswith('/agent'):
            self.fault('container') or self.container()
        elif self.path.startswith('/v1/clusters/'):
            self.fault('msk') or self.msk(body)
        else:
            self.fault('sts') or self.sts(action, parameters, body)

    do_GET = do_PUT = do_POST = handle_request

    def imds(self):
        if self.command == 'PUT' and self.path == '/latest/api/token' and \
                self.headers.get('X-aws-ec2-metadata-token-ttl-seconds') == '21600':
            self.reply(200, 'imds-session==')
        elif self.headers.get('X-aws-ec2-metadata-token') != 'imds-session==':
            self.reply(401)
        elif self.path == '/latest/meta-data/iam/security-credentials/':
            self.reply(200, 'warehouse-role\n')
        elif self.path == '/latest/meta-data/iam/security-credentials/warehouse-role':
            self.reply(200, json.dumps(credentials('imds'), indent=2))
        else:
            self.reply(404)

    def container(self):
        if state['agent'] and self.headers.get('Authorization') != state['agent']:
            self.reply(401, '{}')
        else:
            self.reply(200, json.dumps(credentials('container')))

    def msk(self, body):
        problem = self.signature_problem(body, 'kafka')
        if problem:
            self.reply(403, json.dumps({'message': problem[1]}))
        else:
            self.reply(200, json.dumps(state['brokers']))

    def sts(self, action, parameters, body):
        if action == 'AssumeRoleWithWebIdentity':
            problem = None if parameters.get('WebIdentityToken') == state['web'] else \
                ('InvalidIdentityToken', 'The ID Token provided is not a valid JWT.')
        elif action == 'AssumeRole':
            problem = self.signature_problem(body, 'sts')
            if not problem and state['external'] and parameters.get('ExternalId') != state['external']:
                user = 'b\u00f6se\x01' if parameters.get('ExternalId') == 'odd' else 'x'
                problem = ('AccessDenied', f'User: arn:aws:iam::1:user/{user} is not authorized to perform: sts:AssumeRole')
        else:
            problem = ('InvalidAction', 'There is no such action.')
        if problem:
            self.reply(403, f'<ErrorResponse><Error><Type>Sender</Type><Code>{problem[0]}</Code>'
                            f'<Message>{problem[1]}</Message></Error></ErrorResponse>')
            return
        made = credentials('sts')
        self.reply(200, f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
                        f"<AssumedRoleUser><Arn>{parameters['RoleArn']}/{parameters['RoleSessionName']}</Arn>"
                        f"</AssumedRoleUser><Credentials><AccessKeyId>{made['AccessKeyId']}</AccessKeyId>"
                        f"<SecretAccessKey>{made['SecretAccessKey']}</SecretAccessKey>"
                        f"<SessionToken>{made['Token']}</SessionToken><Expiration>{made['Expiration']}</Expiration>"
                        f'</Credentials></{action}Result></{action}Response>')


def command(name, *words):
    if name == 'mode':
        state['mode'][words[0]] = words[1]
    elif name == 'key':
        state['keys'][words[0]] = (words[1], words[2] if len(words) > 2 else None)
    elif name in ('external', 'agent', 'web'):
        state[name] = None if words[0] == '-' else words[0]
    elif name in ('lifetime', 'skew'):
        state[name] = float(words[0])
    elif name == 'brokers':
        state['brokers'][words[0]] = words[1]
    elif name == 'seen':
        seen, state['seen'] = state['seen'], []
        return 'ok ' + ', '.join(seen)
    else:
        return 'error'
    return 'ok'


def main():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for line in sys.stdin:
        print(command(*line.split()), flush=True)
    os._exit(0)


main()
