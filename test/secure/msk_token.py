"""Tokens for MSK's IAM, written down once more from AWS's description of
Signature Version 4: to hold the extension's own against, and to make wrong ones."""
import base64
import datetime
import hashlib
import hmac
from urllib.parse import quote

SERVICE = 'kafka-cluster'

# Made by AWS's own signer: AKIDEXAMPLE, us-east-1, 2024-01-02 03:04:05.
VECTOR = (
    'aHR0cHM6Ly9rYWZrYS51cy1lYXN0LTEuYW1hem9uYXdzLmNvbS8_QWN0aW9uPWthZmthLWNsdXN0ZXIlM0FDb25uZWN0JlgtQW16'
    'LUFsZ29yaXRobT1BV1M0LUhNQUMtU0hBMjU2JlgtQW16LUNyZWRlbnRpYWw9QUtJREVYQU1QTEUlMkYyMDI0MDEwMiUyRnVzLWVh'
    'c3QtMSUyRmthZmthLWNsdXN0ZXIlMkZhd3M0X3JlcXVlc3QmWC1BbXotRGF0ZT0yMDI0MDEwMlQwMzA0MDVaJlgtQW16LUV4cGly'
    'ZXM9OTAwJlgtQW16LVNpZ25lZEhlYWRlcnM9aG9zdCZYLUFtei1TaWduYXR1cmU9ZDk3NmE2MzMzNGIyZjYwZTY4MmJhNjUwMzJj'
    'ZDllOTg1Y2M1MjVmOWJlODA5ZGJhNDk1OTg0Zjg2NjkxMDEyNCZVc2VyLUFnZW50PWNkY3N5bmMlMkYxLjA')


def hmac_of(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def encode(text):
    return quote(text, safe='-._~')


def token(key, secret, region, at=None, seconds=900, session=None, host=None, action='kafka-cluster:Connect'):
    at = at or datetime.datetime.now(datetime.timezone.utc)
    stamp = at.strftime('%Y%m%dT%H%M%SZ')
    host = host or f'kafka.{region}.amazonaws.com'
    scope = f'{stamp[:8]}/{region}/{SERVICE}/aws4_request'
    parameters = {'Action': action, 'X-Amz-Algorithm': 'AWS4-HMAC-SHA256', 'X-Amz-Credential': f'{key}/{scope}',
                  'X-Amz-Date': stamp, 'X-Amz-Expires': str(seconds), 'X-Amz-SignedHeaders': 'host'}
    if session:
        parameters['X-Amz-Security-Token'] = session
    query = '&'.join(f'{encode(name)}={encode(value)}' for name, value in sorted(parameters.items()))
    request = f'GET\n/\n{query}\nhost:{host}\n\nhost\n{sha256("")}'
    signing = ('AWS4' + secret).encode()
    for part in scope.split('/'):
        signing = hmac_of(signing, part)
    signature = hmac_of(signing, f'AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha256(request)}').hex()
    url = f'https://{host}/?{query}&X-Amz-Signature={signature}&User-Agent={encode("cdcsync/1.0")}'
    return base64.urlsafe_b64encode(url.encode()).rstrip(b'=').decode()
