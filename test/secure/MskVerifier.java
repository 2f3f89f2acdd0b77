import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.auth.SaslExtensions;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * What a broker of Amazon MSK does with the token of a client: a pre-signed
 * request, whose signature only somebody with the secret can make. Signs the
 * request itself and compares; refuses what is expired, is signed for another
 * host, region or service, or belongs to a key that it does not know or that may
 * not connect.
 *
 * <p>Knows the keys from the file that the JAAS option "keys" names, read anew
 * each time: KEY=SECRET, and KEY.session=TOKEN or KEY.denied=true; clock=SECONDS
 * is how fast its clock is. The JAAS option "region" is the broker's.
 *
 * <p>As a program, with that file: checks tokens, "REGION TIME TOKEN" a line.
 */
public class MskVerifier implements AuthenticateCallbackHandler {
    private static final DateTimeFormatter STAMP =
            DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);
    private static final Duration SKEW = Duration.ofMinutes(5);
    private static final String SERVICE = "kafka-cluster";

    private String region;
    private Path keys;

    /** What is wrong with a token. */
    static class Refused extends Exception {
        private static final long serialVersionUID = 1;

        Refused(String why) {
            super(why);
        }
    }

    record Verified(String key, Instant issued, Instant expires) {}

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        region = (String) entries.get(0).getOptions().get("region");
        keys = Path.of((String) entries.get(0).getOptions().get("keys"));
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A")
                .replace("%7E", "~");
    }

    private static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String digest(String text) throws GeneralSecurityException {
        return HexFormat.of().formatHex(
                MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    }

    private static Map<String, String> parameters(URI uri) throws Refused {
        Map<String, String> result = new TreeMap<>();
        for (String pair : uri.getRawQuery().split("&")) {
            int equals = pair.indexOf('=');
            if (equals < 0) {
                throw new Refused("a parameter without a value");
            }
            // "+" is no blank here
            String value = URLDecoder.decode(pair.substring(equals + 1).replace("+", "%2B"), StandardCharsets.UTF_8);
            if (result.put(pair.substring(0, equals), value) != null) {
                throw new Refused("a parameter that is there twice");
            }
        }
        return result;
    }

    private static String want(Map<String, String> parameters, String name) throws Refused {
        String value = parameters.get(name);
        if (value == null) {
            throw new Refused("no " + name);
        }
        return value;
    }

    private static String signature(String secret, String scope, String stamp, String host,
            Map<String, String> parameters) throws GeneralSecurityException {
        StringBuilder query = new StringBuilder();
        parameters.forEach((name, value) -> query.append(query.length() > 0 ? "&" : "")
                .append(encode(name)).append('=').append(encode(value)));
        String request = "GET\n/\n" + query + "\nhost:" + host + "\n\nhost\n" + digest("");
        byte[] key = ("AWS4" + secret).getBytes(StandardCharsets.UTF_8);
        for (String part : scope.split("/")) {
            key = hmac(key, part);
        }
        return HexFormat.of().formatHex(
                hmac(key, "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + digest(request)));
    }

    private static void checkSigned(Map<String, String> parameters) throws Refused {
        if (!want(parameters, "Action").equals("kafka-cluster:Connect")) {
            throw new Refused("signed for another action");
        }
        if (!want(parameters, "X-Amz-Algorithm").equals("AWS4-HMAC-SHA256")
                || !want(parameters, "X-Amz-SignedHeaders").equals("host")) {
            throw new Refused("signed in another way");
        }
        Set<String> known = Set.of("Action", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
                "X-Amz-Security-Token", "X-Amz-SignedHeaders");
        for (String name : parameters.keySet()) {
            if (!known.contains(name)) {
                throw new Refused("an unknown parameter " + name);
            }
        }
    }

    static Verified verify(String token, String region, Properties keys, Instant now)
            throws Refused, GeneralSecurityException {
        URI uri;
        try {
            uri = URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8));
        } catch (IllegalArgumentException e) {
            throw new Refused("not a signed URL");
        }
        if (token.contains("=") || !"https".equals(uri.getScheme()) || !"/".equals(uri.getPath())
                || uri.getRawQuery() == null) {
            throw new Refused("not a signed URL");
        }
        if (!uri.getHost().equals("kafka." + region + ".amazonaws.com")) {
            throw new Refused("signed for the host " + uri.getHost());
        }
        Map<String, String> parameters = parameters(uri);
        String signature = want(parameters, "X-Amz-Signature");
        // these two are not signed
        parameters.remove("X-Amz-Signature");
        parameters.remove("User-Agent");
        checkSigned(parameters);

        String stamp = want(parameters, "X-Amz-Date");
        String[] credential = want(parameters, "X-Amz-Credential").split("/", 2);
        String scope = stamp.split("T")[0] + "/" + region + "/" + SERVICE + "/aws4_request";
        if (credential.length != 2 || !credential[1].equals(scope)) {
            throw new Refused("signed for another day, region or service");
        }
        String secret = keys.getProperty(credential[0]);
        if (secret == null) {
            throw new Refused("The security token included in the request is invalid.");
        }
        String session = keys.getProperty(credential[0] + ".session");
        if (session == null ? parameters.containsKey("X-Amz-Security-Token")
                : !session.equals(parameters.get("X-Amz-Security-Token"))) {
            throw new Refused("The security token included in the request is invalid.");
        }
        if (!MessageDigest.isEqual(signature.getBytes(StandardCharsets.UTF_8),
                signature(secret, scope, stamp, uri.getHost(), parameters).getBytes(StandardCharsets.UTF_8))) {
            throw new Refused("The request signature we calculated does not match the signature you provided.");
        }

        Instant issued;
        long seconds;
        try {
            issued = Instant.from(STAMP.parse(stamp));
            seconds = Long.parseLong(want(parameters, "X-Amz-Expires"));
        } catch (DateTimeParseException | NumberFormatException e) {
            throw new Refused("not a time: " + e.getMessage());
        }
        Instant expires = issued.plusSeconds(seconds);
        if (seconds < 1 || seconds > 900) {
            throw new Refused("valid for " + seconds + " s");
        }
        if (issued.isAfter(now.plus(SKEW))) {
            throw new Refused("Signature not yet current: " + stamp + " is still later than " + STAMP.format(now));
        }
        if (!expires.isAfter(now)) {
            throw new Refused("Signature expired: " + STAMP.format(expires) + " is now earlier than "
                    + STAMP.format(now));
        }
        if (keys.getProperty(credential[0] + ".denied") != null) {
            throw new Refused("Access denied");
        }
        return new Verified(credential[0], issued, expires);
    }

    private static Properties read(Path path) throws IOException {
        Properties result = new Properties();
        try (Reader reader = Files.newBufferedReader(path)) {
            result.load(reader);
        }
        return result;
    }

    private void validate(OAuthBearerValidatorCallback callback) throws IOException {
        Verified verified;
        try {
            Properties known = read(keys);
            Instant now = Instant.now().plusSeconds(Long.parseLong(known.getProperty("clock", "0")));
            verified = verify(callback.tokenValue(), region, known, now);
        } catch (Refused | GeneralSecurityException e) {
            // as MSK says it: the client is told the text
            throw new SaslAuthenticationException("[8f0c4d8e-cdc5-4f0e-9d39-7a3d7a6f0001]: " + e.getMessage());
        }
        String value = callback.tokenValue();
        callback.token(new OAuthBearerToken() {
            @Override
            public String value() {
                return value;
            }

            @Override
            public Set<String> scope() {
                return Set.of();
            }

            @Override
            public long lifetimeMs() {
                return verified.expires().toEpochMilli();
            }

            @Override
            public String principalName() {
                return verified.key();
            }

            @Override
            public Long startTimeMs() {
                return verified.issued().toEpochMilli();
            }
        });
    }

    @Override
    public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback) {
                validate((OAuthBearerValidatorCallback) callback);
            } else if (callback instanceof OAuthBearerExtensionsValidatorCallback) {
                OAuthBearerExtensionsValidatorCallback extensions = (OAuthBearerExtensionsValidatorCallback) callback;
                SaslExtensions inputs = extensions.inputExtensions();
                inputs.map().keySet().forEach(extensions::valid);
            } else if (!(callback instanceof OAuthBearerTokenCallback)) {
                // the broker's own login, for which there is no token
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    @Override
    public void close() {}

    public static void main(String[] args) throws Exception {
        Properties keys = read(Path.of(args[0]));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line;
        while ((line = in.readLine()) != null) {
            String[] w = line.split(" ");
            try {
                Verified verified = verify(w[2], w[0], keys, Instant.parse(w[1]));
                System.out.println("ok " + verified.key() + " " + verified.expires().toEpochMilli());
            } catch (Refused e) {
                System.out.println("refused: " + e.getMessage());
            }
        }
    }
}
