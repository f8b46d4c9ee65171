// Reads and verifies sigstore bundles with programs that nobody here wrote: @sigstore/bundle and @sigstore/verify.
//
// usage: node sigstore_bundle.js PUBLIC_KEY.pem BUNDLE.json
//
// The bundle must be read as a bundle v0.3 and its signature must verify with the key; it must be refused after one byte
// of the payload, one byte of the signature, the hint and the key is changed in turn. Needs the two npm packages, found
// through NODE_PATH; exit code 77 if they are not there.

const crypto = require("crypto");
const fs = require("fs");

let bundles, verify;
try {
    bundles = require("@sigstore/bundle");
    verify = require("@sigstore/verify");
} catch (error) {
    console.log("skipped: " + error.message.split("\n")[0]);
    process.exit(77);
}

const [pem, text] = process.argv.slice(2).map((path) => fs.readFileSync(path, "utf8"));
const hint = JSON.parse(text).verificationMaterial.publicKey.hint;

function accepts(document, key) {
    // No certificate authority, no transparency log and no timestamp takes part: the key is the whole trust.
    const material = verify.toTrustMaterial(
        { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] },
        (asked) => {
            if (asked !== hint) throw new Error("no such key");
            return { publicKey: crypto.createPublicKey(key), validFor: () => true };
        },
    );
    const verifier = new verify.Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, tsaThreshold: 0, timestampThreshold: 0 });
    try {
        verifier.verify(verify.toSignedEntity(bundles.bundleFromJSON(document)));
        return true;
    } catch (error) {
        return error.message;
    }
}

function expect(what, found, wanted) {
    if ((found === true) !== wanted) {
        console.error(`${what}: ${found}`);
        process.exit(1);
    }
}

const document = () => JSON.parse(text);
function flipped(base64) {
    const bytes = Buffer.from(base64, "base64");
    bytes[0] ^= 1;
    return bytes.toString("base64");
}

if (document().mediaType !== "application/vnd.dev.sigstore.bundle.v0.3+json") {
    console.error("another media type");
    process.exit(1);
}
expect("the bundle", accepts(document(), pem), true);

const payload = document();
payload.dsseEnvelope.payload = flipped(payload.dsseEnvelope.payload);
expect("a changed payload", accepts(payload, pem), false);

const signature = document();
signature.dsseEnvelope.signatures[0].sig = flipped(signature.dsseEnvelope.signatures[0].sig);
expect("a changed signature", accepts(signature, pem), false);

const other = document();
other.verificationMaterial.publicKey.hint = "another";
expect("another hint", accepts(other, pem), false);

const stranger = crypto.generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" });
expect("another key", accepts(document(), stranger), false);

console.log("accepted by @sigstore/bundle and @sigstore/verify, and refused when changed");
