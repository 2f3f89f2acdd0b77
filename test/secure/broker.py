"""A real Kafka with a listener for each way to connect, and for each way that
goes wrong."""
import os

import services
from certificates import Authority

HERE = os.path.dirname(os.path.abspath(__file__))
REGION = 'eu-central-1'
LOGIN = 'org.apache.kafka.common.security'


def compile_verifier(root, libs):
    classes = os.path.join(root, 'classes')
    services.run(['javac', '-cp', libs + '/*', '-d', classes, os.path.join(HERE, 'MskVerifier.java')])
    return classes


class Certificates:
    def __init__(self, root):
        self.authority = Authority(root, 'authority')
        self.other = Authority(root, 'other')
        issue = self.authority.issue
        self.server = issue('server')
        self.expired = issue('expired', end='20210101000000Z')
        self.future = issue('future', start='20980101000000Z')
        self.wrong_host = issue('elsewhere', hosts='DNS:kafka.example')
        self.client = issue('client')
        self.client_encrypted = self.authority.encrypted('client', 'a password')
        self.expired_client = issue('expired-client', end='20210101000000Z')
        self.other_client = self.other.issue('other-client')

    def values(self):
        """What the options of a case may name: texts and paths."""
        directory = self.authority.dir
        values = {'ca': self.authority.pem, 'other_ca': self.other.pem, 'ca_path': self.authority.path,
                  'client_encrypted': self.client_encrypted,
                  'client_path': os.path.join(directory, 'client.pem'),
                  'client_key_path': os.path.join(directory, 'client.key')}
        for name in ('client', 'expired_client', 'other_client'):
            values[name], values[name + '_key'] = getattr(self, name)
        return values


class SecureKafka(services.Broker):
    """Its listeners, by name, are in ports."""

    # name: protocol, which certificate, mechanisms
    LISTENERS = {
        'PLAINTEXT': ('PLAINTEXT', None, ()),
        'SSL': ('SSL', 'server', ()),
        'MTLS': ('SSL', 'server', ()),
        'PROXIED': ('SSL', 'server', ()),   # mutual, through a proxy
        'SCRAM': ('SASL_SSL', 'server', ('SCRAM-SHA-512', 'SCRAM-SHA-256')),
        'SCRAM256': ('SASL_SSL', 'server', ('SCRAM-SHA-256',)),
        'PLAIN': ('SASL_SSL', 'server', ('PLAIN',)),
        'BARE': ('SASL_PLAINTEXT', None, ('SCRAM-SHA-512',)),
        'SHORT': ('SASL_SSL', 'server', ('SCRAM-SHA-512',)),
        'IAM': ('SASL_SSL', 'server', ('OAUTHBEARER',)),
        'IAMSHORT': ('SASL_SSL', 'server', ('OAUTHBEARER',)),
        'EXPIRED': ('SSL', 'expired', ()),
        'FUTURE': ('SSL', 'future', ()),
        'ELSEWHERE': ('SSL', 'wrong_host', ()),
    }
    SESSION = 2000  # ms, of the listeners named SHORT

    def __init__(self, name, root, libs):
        own = os.path.join(root, name + '-files')
        self.certificates = Certificates(own)
        self.keys = os.path.join(own, 'keys')
        self.ports = {name: services.free_port() for name in self.LISTENERS}
        listeners = dict(self.ports)
        self.proxy = services.Proxy(listeners['PROXIED'])
        self.ports['PROXIED'] = self.proxy.port
        self.port = self.ports['PLAINTEXT']
        self.bootstrap = f'127.0.0.1:{self.port}'
        self.set_keys()
        controller = services.free_port()
        protocols = {name: protocol for name, (protocol, _, _) in self.LISTENERS.items()}
        classpath = libs + '/*:' + compile_verifier(own, libs)
        super().__init__(name, root, classpath, 1, controller, {
            'process.roles': 'broker,controller',
            'listeners': services.addresses({**listeners, 'CONTROLLER': controller}),
            'advertised.listeners': services.addresses(self.ports),
            'listener.security.protocol.map': ','.join(
                f'{name}:{protocol}' for name, protocol in {**protocols, 'CONTROLLER': 'PLAINTEXT'}.items()),
            'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
            'super.users': 'User:ANONYMOUS',
            'allow.everyone.if.no.acl.found': 'true',
            **self.listener_settings(),
        })
        self.restart()

    def listener_settings(self):
        settings = {}
        for name, (_, certificate, mechanisms) in self.LISTENERS.items():
            prefix = f'listener.name.{name.lower()}.'
            if certificate:
                store = os.path.join(os.path.dirname(self.keys), certificate + '.keystore')
                with open(store, 'w', encoding='ascii') as f:
                    f.write(''.join(reversed(getattr(self.certificates, certificate))))
                settings |= {prefix + 'ssl.keystore.type': 'PEM', prefix + 'ssl.keystore.location': store}
            if mechanisms:
                settings[prefix + 'sasl.enabled.mechanisms'] = ','.join(mechanisms)
            for mechanism in mechanisms:
                settings |= self.mechanism_settings(prefix + mechanism.lower() + '.', mechanism)
                if name.endswith('SHORT'):
                    settings[prefix + mechanism.lower() + '.connections.max.reauth.ms'] = self.SESSION
        for prefix in ('listener.name.mtls.ssl.', 'listener.name.proxied.ssl.'):
            settings |= {prefix + 'client.auth': 'required', prefix + 'truststore.type': 'PEM',
                         prefix + 'truststore.location': self.certificates.authority.path}
        return settings

    def mechanism_settings(self, prefix, mechanism):
        jaas, handler = prefix + 'sasl.jaas.config', prefix + 'sasl.server.callback.handler.class'
        if mechanism == 'PLAIN':
            return {jaas: f'{LOGIN}.plain.PlainLoginModule required user_alice="alices-password";'}
        if mechanism == 'OAUTHBEARER':
            return {jaas: f'{LOGIN}.oauthbearer.OAuthBearerLoginModule required'
                          f' region="{REGION}" keys="{self.keys}";',
                    handler: 'MskVerifier', prefix + 'sasl.login.callback.handler.class': 'MskVerifier'}
        return {jaas: f'{LOGIN}.scram.ScramLoginModule required;'}

    def set_keys(self, **more):
        """What the verifier knows of keys, from now on."""
        keys = {'AKIDEXAMPLE': 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', **more}
        services.write(self.keys + '.new', keys)
        os.replace(self.keys + '.new', self.keys)
