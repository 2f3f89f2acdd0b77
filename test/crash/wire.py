"""A small client of PostgreSQL's protocol, version 3, over a Unix socket.

A sampling reader asks hundreds of times a second and has to notice at once
that the server is gone: psql at the other end of a pipe is too slow for the
one and too vague for the other.  Trust authentication, simple queries, values
as text.
"""

import socket
import struct


class Lost(Exception):
    """There is no server, or there is none any more."""


class Refused(Exception):
    """The server answers with an error."""

    def __init__(self, fields):
        self.sqlstate = fields.get('C', '')
        self.message = fields.get('M', '')
        super().__init__('%s: %s' % (self.sqlstate, self.message))


class Connection:
    def __init__(self, directory, port, database, timeout=60, settings=''):
        self._buffer = b''
        self.pid = None
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect('%s/.s.PGSQL.%d' % (directory, port))
            self._start(database, settings)
        except OSError as error:
            self.close()
            raise Lost(str(error)) from None
        except (Lost, Refused):
            self.close()
            raise

    def _start(self, database, settings):
        words = ['user', 'postgres', 'database', database, 'client_encoding',
                 'UTF8', 'options', settings]
        body = struct.pack('!i', 196608)
        body += b''.join(w.encode() + b'\0' for w in words) + b'\0'
        self._socket.sendall(struct.pack('!i', len(body) + 4) + body)
        self._until_ready()

    def _message(self):
        while len(self._buffer) < 5 or \
                len(self._buffer) < 1 + struct.unpack_from('!i', self._buffer, 1)[0]:
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise Lost(str(error)) from None
            if not data:
                raise Lost('the server closed the connection')
            self._buffer += data
        end = 1 + struct.unpack_from('!i', self._buffer, 1)[0]
        kind, body = self._buffer[:1], self._buffer[5:end]
        self._buffer = self._buffer[end:]
        return kind, body

    def _until_ready(self):
        """The rows up to the next ReadyForQuery."""
        rows, error = [], None
        while True:
            kind, body = self._message()
            if kind == b'D':
                rows.append(self._row(body))
            elif kind == b'E':
                error = self._error(body)
                if error.sqlstate[:3] in ('57P', '533'):
                    raise error         # and the connection ends
            elif kind == b'K':
                self.pid = struct.unpack_from('!i', body)[0]
            elif kind == b'R' and struct.unpack_from('!i', body)[0] != 0:
                raise Lost('the server wants a password')
            elif kind == b'Z':
                if error:
                    raise error
                return rows

    @staticmethod
    def _row(body):
        row, at = [], 2
        for _ in range(struct.unpack_from('!h', body)[0]):
            size = struct.unpack_from('!i', body, at)[0]
            at += 4
            row.append(None if size < 0 else body[at:at + size].decode())
            at += max(size, 0)
        return row

    @staticmethod
    def _error(body):
        return Refused({part[:1].decode(): part[1:].decode(errors='replace')
                        for part in body.split(b'\0') if part})

    def query(self, sql):
        """Run a statement; its rows, lists of texts."""
        body = sql.encode() + b'\0'
        try:
            self._socket.sendall(b'Q' + struct.pack('!i', len(body) + 4) + body)
        except OSError as error:
            raise Lost(str(error)) from None
        return self._until_ready()

    def value(self, sql):
        return self.query(sql)[0][0]

    def close(self):
        self._socket.close()
