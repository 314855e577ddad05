import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import javax.crypto.Cipher;

/**
 * Registers a customer with the cryptography of Java, whose padding of this name makes its mask
 * with SHA-1. Usage: java Register.java GATEWAY OPS EMAIL. Prints the answer's body; fails
 * unless it is 200.
 */
public class Register {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] args) throws Exception {
        HttpRequest keyRequest = HttpRequest.newBuilder(URI.create(args[1] + "/dev/fincode-public-key")).build();
        byte[] spki = Base64.getDecoder().decode(CLIENT.send(keyRequest, HttpResponse.BodyHandlers.ofString()).body());
        PublicKey key = KeyFactory.getInstance("RSA").generatePublic(new X509EncodedKeySpec(spki));

        HttpRequest request = HttpRequest.newBuilder(URI.create(args[0] + "/api/v6/services/usermanagement/register-customer"))
                .header("Content-Type", "application/json")
                .header("platform", "fincode")
                .header("uuid", "200")
                .POST(HttpRequest.BodyPublishers.ofString(body(args[2], key)))
                .build();
        HttpResponse<String> response = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.body());
        System.exit(response.statusCode() == 200 ? 0 : 1);
    }

    private static String encrypted(String password, PublicKey key) throws Exception {
        Cipher cipher = Cipher.getInstance("RSA/ECB/OAEPWithSHA-256AndMGF1Padding");
        cipher.init(Cipher.ENCRYPT_MODE, key);
        return Base64.getEncoder().encodeToString(cipher.doFinal(password.getBytes(StandardCharsets.UTF_8)));
    }

    private static String body(String email, PublicKey key) throws Exception {
        String password = "W\u00f6rter-und-7-Zahlen";
        return "{'devicePlatform':'ANDROID','appVersion':'1','appId':'com.fincode.remitjunction',"
                .concat("'customerType':'COMPANY','payloadEncrypted':true,'firstName':'Amara','lastName':'Okafor',")
                .concat("'email':'" + email + "','dialingCode':'+44','phone':'+44 7123 456789','dob':'1979-03-04T00:00:00Z',")
                .concat("'password':'" + encrypted(password, key) + "','confirmPassword':'" + encrypted(password, key) + "',")
                .concat("'address':{'address1':'1 High Street','address2':'','countryCommonName':'United Kingdom',")
                .concat("'postcode':'SW1A 1AA','countryIso3':'GBR'},'dynamicFields':{'companyName':'Okafor 24 Ltd'}}")
                .replace('\'', '"');
    }
}
