"""Ways to connect, and ways that go wrong: what is set, and what is said."""
import re
from dataclasses import dataclass, field

GOOD_KEY = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
REGION = 'eu-central-1'

# Values that name a certificate, below, are replaced by its text.
CA = {'ssl_ca': 'ca'}
SSL = {'security_protocol': 'ssl', **CA}


def sasl(mechanism):
    return {'security_protocol': 'sasl_ssl', 'sasl_mechanism': mechanism, **CA}


ALICE = {'user': 'alice', 'password': 'alices-password'}
IAM = {'auth': 'iam', 'region': REGION, **CA}
KEY = {'aws_access_key_id': 'AKIDEXAMPLE', 'aws_secret_access_key': GOOD_KEY}


@dataclass
class Case:
    name: str
    listener: str
    server: dict
    mapping: dict = field(default_factory=dict)
    sqlstate: str = None
    reason: str = None      # in the message
    hint: str = None        # in the hint
    host: str = '127.0.0.1'
    topic: str = 'orders'

    def is_answer(self, text):
        """Is it that error, as psql prints it?"""
        hint = re.search(r'HINT:  (.*)', text)
        return f'ERROR:  {self.sqlstate}: ' in text and self.reason in text.split('\n')[0] and \
            (self.hint in hint[1] if self.hint else True)

    def is_row(self, row):
        return row['sqlstate'] == self.sqlstate and self.reason in row['last_error'] and \
            (not self.hint or self.hint in row['hint'])


OK = [
    Case('TLS', 'SSL', SSL),
    Case('TLS, by name', 'SSL', SSL, host='localhost'),
    Case('TLS, authority in a file', 'SSL', {'security_protocol': 'ssl', 'ssl_ca_file': 'ca_path'}),
    Case('TLS, not verified', 'ELSEWHERE', {'security_protocol': 'ssl', 'ssl_verify': 'false'}),
    Case('mutual TLS', 'MTLS', SSL, {'ssl_certificate': 'client', 'ssl_key': 'client_key'}),
    Case('mutual TLS, key encrypted', 'MTLS', SSL,
         {'ssl_certificate': 'client', 'ssl_key': 'client_encrypted', 'ssl_key_password': 'a password'}),
    Case('mutual TLS, by files', 'MTLS', SSL,
         {'ssl_certificate_file': 'client_path', 'ssl_key_file': 'client_key_path'}),
    Case('scram-sha-512', 'SCRAM', sasl('scram-sha-512'), ALICE),
    Case('scram-sha-256', 'SCRAM256', sasl('scram-sha-256'), ALICE),
    Case('scram-sha-512, short sessions', 'SHORT', sasl('scram-sha-512'), ALICE),
    Case('scram-sha-512 without TLS', 'BARE',
         {'security_protocol': 'sasl_plaintext', 'sasl_mechanism': 'scram-sha-512'}, ALICE),
    Case('plain', 'PLAIN', sasl('plain'), ALICE),
    Case('IAM', 'IAM', IAM, KEY),
    Case('IAM, short sessions', 'IAMSHORT', IAM, KEY),
]

AWAY, LOGIN, INVALID = 'HV00N', '28000', '22023'
USER = 'the broker does not accept user and password'
UNTRUSTED = 'signed by an authority that is not trusted'

FAULTS = [
    Case('the certificate has expired', 'EXPIRED', SSL, {}, AWAY, 'certificate has expired', 'new one'),
    Case('the certificate is not valid yet', 'FUTURE', SSL, {}, AWAY, 'certificate is not valid yet', 'clock'),
    Case('another host', 'ELSEWHERE', SSL, {}, AWAY, 'certificate is for another host', 'bootstrap_servers'),
    Case('unknown authority', 'SSL', {'security_protocol': 'ssl'}, {}, AWAY, UNTRUSTED, "ssl_ca"),
    Case('wrong authority', 'SSL', {'security_protocol': 'ssl', 'ssl_ca': 'other_ca'}, {}, AWAY, UNTRUSTED,
         'other certificates'),
    Case('no client certificate', 'MTLS', SSL, {}, LOGIN, 'asks for a certificate of ours', 'ssl_certificate'),
    Case('client certificate of another authority', 'MTLS', SSL,
         {'ssl_certificate': 'other_client', 'ssl_key': 'other_client_key'},
         LOGIN, 'does not accept our certificate', 'valid now'),
    Case('client certificate that has expired', 'MTLS', SSL,
         {'ssl_certificate': 'expired_client', 'ssl_key': 'expired_client_key'},
         LOGIN, 'does not accept our certificate', 'valid now'),
    Case('key of another certificate', 'MTLS', SSL, {'ssl_certificate': 'client', 'ssl_key': 'other_client_key'},
         INVALID, 'option "ssl_key" cannot be used', 'not that of the certificate'),
    Case('wrong password of the key', 'MTLS', SSL,
         {'ssl_certificate': 'client', 'ssl_key': 'client_encrypted', 'ssl_key_password': 'another'},
         INVALID, 'option "ssl_key" cannot be used', 'ssl_key_password'),
    Case('no password of the key', 'MTLS', SSL, {'ssl_certificate': 'client', 'ssl_key': 'client_encrypted'},
         INVALID, 'option "ssl_key" cannot be used', 'ssl_key_password'),
    Case('plaintext on a port with TLS', 'SSL', {}, {}, AWAY, 'does not answer as one without TLS', 'expect TLS'),
    Case('plaintext on a port with TLS and SASL', 'SCRAM', {}, {}, AWAY, 'does not answer as one without TLS',
         'sasl_ssl'),
    Case('SASL in plaintext on a port with TLS', 'SCRAM',
         {'security_protocol': 'sasl_plaintext', 'sasl_mechanism': 'scram-sha-512'}, ALICE,
         AWAY, 'does not answer as one without TLS', 'sasl_ssl'),
    Case('plaintext on a port with SASL', 'BARE', {}, {}, AWAY, 'hangs up before we have logged in', 'SASL'),
    Case('TLS on a port in plaintext', 'PLAINTEXT', SSL, {}, AWAY, 'does not answer as one with TLS', 'plaintext'),
    Case('TLS on a port with SASL', 'SCRAM', SSL, {}, AWAY, 'hangs up before we have logged in', 'sasl_ssl'),
    Case('SASL on a port without', 'SSL', sasl('scram-sha-512'), ALICE, LOGIN, 'expects no SASL', 'ssl'),
    Case('wrong mechanism', 'SCRAM256', sasl('scram-sha-512'), ALICE,
         LOGIN, 'does not offer SCRAM-SHA-512', 'SCRAM-SHA-256'),
    Case('user and password on a port for IAM', 'IAM', sasl('scram-sha-512'), ALICE,
         LOGIN, 'does not offer SCRAM-SHA-512', 'OAUTHBEARER'),
    Case('scram: wrong password', 'SCRAM', sasl('scram-sha-512'), {'user': 'alice', 'password': 'wrong'},
         LOGIN, USER, 'user mapping'),
    Case('scram: unknown user', 'SCRAM', sasl('scram-sha-512'), {'user': 'bob', 'password': 'wrong'},
         LOGIN, USER, 'user mapping'),
    Case('plain: wrong password', 'PLAIN', sasl('plain'), {'user': 'alice', 'password': 'wrong'},
         LOGIN, USER, 'user mapping'),
    Case('no password', 'PLAIN', sasl('plain'), {'user': 'alice'}, AWAY, 'no user and password', 'user mapping'),
    Case('IAM: wrong secret', 'IAM', IAM, {**KEY, 'aws_secret_access_key': GOOD_KEY[::-1]},
         LOGIN, 'AWS does not accept our credentials', 'secret'),
    Case('IAM: unknown key', 'IAM', IAM, {**KEY, 'aws_access_key_id': 'AKIDUNKNOWN'},
         LOGIN, 'AWS does not accept our credentials', 'access key'),
    Case('IAM: another region', 'IAM', {**IAM, 'region': 'us-east-1'}, KEY,
         LOGIN, 'the broker does not accept our token', 'region'),
    Case('topic not allowed', 'SCRAM', sasl('scram-sha-512'), ALICE,
         '42501', 'could not read partition 0 of topic "forbidden"', 'READ', topic='forbidden'),
    Case('topic that is hidden', 'SCRAM', sasl('scram-sha-512'), ALICE,
         'HV00R', 'topic "hidden" does not exist', 'allowed to see it', topic='hidden'),
]

CLOCK = Case('a wrong clock', 'IAM', IAM, KEY, LOGIN, 'AWS finds the time of our token wrong', 'clock')

# Those that a worker is shown, too: one of each kind.
WATCHED = {
    'the certificate has expired', 'the certificate is not valid yet', 'another host', 'unknown authority',
    'no client certificate', 'client certificate of another authority', 'key of another certificate',
    'plaintext on a port with TLS', 'TLS on a port in plaintext', 'wrong mechanism', 'plain: wrong password',
    'IAM: wrong secret',
}
