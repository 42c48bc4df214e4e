//! Problems of this machine: the key, the command line, the command.

use std::process::Command;

use super::Server::{At, Line};
use super::{Lab, Row};

/// Keys that cannot sign.
#[rustfmt::skip]
pub fn keys(lab: &Lab) -> Vec<Row> {
    lab.write("large.json", " ".repeat(64 * 1024 + 1));
    lab.make_fifo("fifo");
    let none = || At("http://127.0.0.1:1");
    vec![
        ("no key", none(), &["MONITORING_SIGNER_KEY"], 125, &["no signing key: set MONITORING_SIGNER_KEY"]),
        ("an empty variable", none(), &["MONITORING_SIGNER_KEY="], 125, &["no signing key"]),
        ("no such file", none(), &["-monitoring-signer-key=/proc/nonexistent/key"], 125, &["cannot read the key /proc/nonexistent/key: No such file", "MONITORING_SIGNER_KEY"]),
        ("a folder", none(), &["-monitoring-signer-key={dir}"], 125, &["cannot read the key /", "Is a directory"]),
        ("too large", none(), &["-monitoring-signer-key={dir}/large.json"], 125, &["larger than 64 KiB"]),
        ("a device", none(), &["-monitoring-signer-key=/dev/zero"], 125, &["larger than 64 KiB"]),
        ("nothing", none(), &["-monitoring-signer-key=/dev/null"], 125, &["it is empty"]),
        ("a pipe nobody writes to", none(), &["-monitoring-signer-key={dir}/fifo", "-timeout=500ms"], 124, &["timed out after ", "while reading the key", "fifo", "check the process that writes to it"]),
        ("PEM in the variable", none(), &["MONITORING_SIGNER_KEY=-----BEGIN PRIVATE KEY-----"], 125, &["MONITORING_SIGNER_KEY: expected the path of a private JWK, or", "and is not shown"]),
        ("a file: URL in the variable", none(), &["MONITORING_SIGNER_KEY=file:///keys/k.json"], 125, &["MONITORING_SIGNER_KEY: expected the path of the private JWK, not a file: URL"]),
        ("a file: URL as the flag", none(), &["-monitoring-signer-key=file:///keys/k.json"], 125, &["-monitoring-signer-key: expected the path of the private JWK"]),
        ("PEM on the command line", none(), &["-monitoring-signer-key=-----BEGIN PRIVATE KEY-----"], 125, &["-monitoring-signer-key: expected the path of a private JWK, or", "and is not shown"]),
        ("a pipe to inspect", Line(&["key", "inspect", "-timeout=500ms", "{dir}/fifo"]), &[], 124, &["timed out after ", "while reading the key", "fifo"]),
        ("a pipe to publish", Line(&["key", "public", "-timeout=500ms", "{dir}/fifo"]), &[], 124, &["timed out after ", "while reading the key", "fifo"]),
        ("a large file to inspect", Line(&["key", "inspect", "{dir}/large.json"]), &[], 125, &["larger than 64 KiB"]),
        ("nothing to inspect", Line(&["key", "inspect", "{dir}/none"]), &[], 125, &["No such file", "give the path of a JWK"]),
        ("a key in the place of a file", Line(&["key", "generate", "-out={dir}/large.json"]), &[], 125, &["large.json: File exists", "choose another file with --out"]),
        ("a key in a folder that is not there", Line(&["key", "generate", "-out={dir}/no/key"]), &[], 125, &["cannot write", "no/key: No such file", "see --out"]),
        ("no file to inspect", Line(&["key", "inspect"]), &[], 2, &["missing FILE: expected the path of one JWK"]),
        ("a file to generate", Line(&["key", "generate", "x"]), &[], 2, &["key generate takes no argument x; name the file with --out"]),
        ("a key id with a slash", Line(&["key", "generate", "-kid=a/b"]), &[], 2, &["-kid: must not contain a slash unless --out names the file"]),
        ("an empty key id", Line(&["key", "generate", "-kid", ""]), &[], 2, &["-kid: must not be empty; leave it out"]),
        ("an algorithm that Locate does not take", Line(&["key", "generate", "-alg=ES384"]), &[], 2, &["invalid value \"ES384\" for -alg: expected EdDSA, ES256 or RS256"]),
        ("the key on the command line", none(), &["-monitoring-signer-key={\"kty\":\"OKP\"}"], 2, &["command lines are public", "MONITORING_SIGNER_KEY"]),
        ("half a key in the variable", none(), &["MONITORING_SIGNER_KEY={\"kty\":\"OKP\""], 125, &["cannot use the key in MONITORING_SIGNER_KEY: not valid JSON"]),
        ("public", none(), &["-monitoring-signer-key={keys}/public.json"], 125, &["public.json: this is a public key; signing needs the private key"]),
        ("symmetric", none(), &["-monitoring-signer-key={keys}/symmetric.json"], 125, &["this is a symmetric key"]),
        ("a set", none(), &["-monitoring-signer-key={keys}/set.json"], 125, &["this is a JWK set"]),
        ("encrypted, compact", none(), &["-monitoring-signer-key={keys}/encrypted.jwe"], 125, &["this key is encrypted (JWE)"]),
        ("encrypted, as JSON", none(), &["-monitoring-signer-key={keys}/encrypted.json"], 125, &["this key is encrypted (JWE)"]),
        ("PEM", none(), &["-monitoring-signer-key={keys}/private.pem"], 125, &["this is PEM, not a JWK", "key generate"]),
        ("another alg", none(), &["-monitoring-signer-key={keys}/wrong-alg.json"], 125, &["its \"alg\" \"RS256\" does not fit this key, which signs with ES256"]),
        ("an alg of HMAC", none(), &["-monitoring-signer-key={keys}/hmac-alg.json"], 125, &["its \"alg\" \"HS256\" does not fit"]),
        ("another use", none(), &["-monitoring-signer-key={keys}/wrong-use.json"], 125, &["its \"use\" is \"enc\"; signing needs \"sig\""]),
        ("another public part, EC", none(), &["-monitoring-signer-key={keys}/mismatched-ec.json"], 125, &["the public and private parts do not match"]),
        ("another public part, Ed25519", none(), &["-monitoring-signer-key={keys}/mismatched-ed25519.json"], 125, &["the public and private parts do not match"]),
        ("another public part, RSA", none(), &["-monitoring-signer-key={keys}/mismatched-rsa.json"], 125, &["the public and private parts do not match"]),
        ("another exponent, RSA", none(), &["-monitoring-signer-key={keys}/wrong-dp.json"], 125, &["the public and private parts do not match"]),
        ("RSA of 1024 bits", none(), &["-monitoring-signer-key={keys}/rsa-1024.json"], 125, &["an RSA key of 1024 bits is too short; use one of 2048, 3072 or 4096 bits"]),
        ("RSA without primes", none(), &["-monitoring-signer-key={keys}/rsa-without-primes.json"], 125, &["\"p\" and \"q\" are missing; a private RSA key needs n, e, d, p and q"]),
        ("P-521", none(), &["-monitoring-signer-key={keys}/p521.json"], 125, &["curve \"P-521\" is not supported"]),
        ("secp256k1", none(), &["-monitoring-signer-key={keys}/secp256k1.json"], 125, &["curve \"secp256k1\" is not supported"]),
        ("X25519", none(), &["-monitoring-signer-key={keys}/x25519.json"], 125, &["curve \"X25519\" cannot sign"]),
        ("no base64url", none(), &["-monitoring-signer-key={keys}/bad-base64.json"], 125, &["\"d\" is not valid base64url"]),
        ("short", none(), &["-monitoring-signer-key={keys}/short.json"], 125, &["\"d\" must have 32 bytes, not 30"]),
        ("without a type", none(), &["-monitoring-signer-key={keys}/without-kty.json"], 125, &["this is not a JWK: \"kty\" is missing"]),
        ("of an unknown type", none(), &["-monitoring-signer-key={keys}/unknown-kty.json"], 125, &["key type \"AKP\" is not supported"]),
        ("without a public part", none(), &["-monitoring-signer-key={keys}/without-x.json"], 125, &["\"x\" is missing"]),
        ("a number for a name", none(), &["-monitoring-signer-key={keys}/kid-number.json"], 125, &["\"kid\" must be a string, not a number"]),
        ("a list", none(), &["-monitoring-signer-key={keys}/array.json"], 125, &["expected one JSON object, found a list"]),
        ("text", none(), &["-monitoring-signer-key={keys}/not-json.txt"], 125, &["not valid JSON (line 1, column 1)"]),
        ("cut off", none(), &["-monitoring-signer-key={keys}/truncated.json"], 125, &["not valid JSON"]),
        ("empty", none(), &["-monitoring-signer-key={keys}/empty.json"], 125, &["it is empty"]),
    ]
}

/// Invalid command lines.
#[rustfmt::skip]
pub fn usage(_: &Lab) -> Vec<Row> {
    vec![
        ("no CA file", At("http://x"), &["-ca-file="], 2, &["-ca-file"]),
        ("an invalid Locate URL", At("nonsense"), &[], 2, &["LOCATE_URL: invalid URL: expected a URL that begins with http:// or https://"]),
        ("a Locate URL of another scheme", At("ftp://h/x"), &[], 2, &["LOCATE_URL: invalid URL \"ftp://h/x\": expected a URL that begins with http:// or https://"]),
        ("a Locate URL without a host", At("x"), &["-locate-url=http://"], 2, &["-locate-url: invalid URL: it has no host; expected http://HOST/"]),
        ("a variable that can be none", At("http://x"), &["-env-name=A=B"], 2, &["invalid value \"A=B\" for -env-name: not a valid environment variable name"]),
        ("a service with a blank", At("http://x"), &["-service=ndt/ndt 7"], 2, &["invalid value \"ndt/ndt 7\" for -service: contains a space or control character; use <experiment>/<datatype>"]),
        ("invalid retries", At("http://x"), &["-retries=-1"], 2, &["invalid value \"-1\" for -retries: expected a whole number such as 0, 1 or 2"]),
        ("an empty Locate URL", At("http://x"), &["-locate-url="], 2, &["-locate-url: invalid URL: it is empty; set it to the URL of Locate's monitoring path"]),
        ("a label without a value", Line(&["-metrics-label=x", "true"]), &[], 2, &["invalid value \"x\" for -metrics-label: expected NAME=VALUE"]),
        ("a label in the variable", Line(&["true"]), &["MONITORING_TOKEN_METRICS_LABEL=x"], 2, &["invalid value \"x\" for MONITORING_TOKEN_METRICS_LABEL: expected NAME=VALUE"]),
        ("an empty output", Line(&["-output=", "true"]), &[], 2, &["empty value for -output"]),
        ("an empty name", Line(&["stackstate", "create", "--name="]), &["STS_CLI_API_TOKEN=x", "STS_CLI_URL=http://x"], 2, &["empty value for --name"]),
        ("a format of a list", Line(&["gafaelfawr", "list", "--username=u", "--url=http://x", "--output=xml"]), &["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"], 2, &["expected text or json"]),
        ("a flag with a value that has none", Line(&["-version=x"]), &[], 2, &["flag -version takes no value"]),
        ("a variable with a carriage return", At("http://x"), &["MACHINE=m\r"], 2, &["invalid value \"m\\r\" for MACHINE: contains a control character"]),
        ("a URL key with a blank", At("http://x"), &["SERVICE_URL_KEY_NAME=wss:///x "], 2, &["invalid value \"wss:///x \" for SERVICE_URL_KEY_NAME: begins or ends with whitespace"]),
        ("a boolean after a boolean flag", Line(&["-service-url", "true", "-machine=m"]), &[], 2, &["-service-url true: a boolean flag takes its value after ="]),
        ("a mistyped subcommand", Line(&["chek", "-machine=m"]), &[], 2, &["unknown command chek; did you mean check?"]),
        ("help for what is none", Line(&["help", "chek"]), &[], 2, &["help: unknown command chek; did you mean check?"]),
        ("an empty key name", At("http://x"), &["-service-url-key-name="], 2, &["-service-url-key-name: the key is empty"]),
        ("a host with an unexpanded variable", At("http://locate-dot-${PROJECT}.example/"), &[], 2, &["LOCATE_URL: invalid URL", "invalid host locate-dot-${project}.example; a variable in it was not expanded"]),
        ("the same in a flag", At("http://x"), &["-locate-url=http://$HOST/"], 2, &["-locate-url: invalid URL", "invalid host $host"]),
        ("the same of another service", Line(&["gafaelfawr", "list", "-username=u", "-url=http://{{host}}/"]), &["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"], 2, &["-url: invalid host"]),
        ("an unknown flag", Line(&["-nope", "true"]), &[], 2, &["unknown flag -nope", "-help"]),
        ("three dashes", Line(&["---machine=m", "true"]), &[], 2, &["invalid flag syntax: ---machine=…"]),
        ("a flag without its value", Line(&["-machine"]), &[], 2, &["flag -machine needs a value"]),
        ("a machine that is not text", Line(&["-machine={ff}", "true"]), &[], 2, &["invalid value \"\u{fffd}\" for -machine: not valid UTF-8"]),
        ("no command", Line(&["-machine=m", "--"]), &[], 2, &["missing command to run: monitoring-token [flags] -- COMMAND"]),
        ("a timeout without a unit", Line(&["true"]), &["TIMEOUT=5"], 2, &["invalid value \"5\" for TIMEOUT: expected a duration such as 250ms, 5s or 1m30s"]),
        ("a timeout of zero", Line(&["-timeout=0s", "true"]), &[], 2, &["invalid value \"0s\" for -timeout: must be greater than zero"]),
        ("a grace below zero", Line(&["-kill-after=-1s", "true"]), &[], 2, &["invalid value \"-1s\" for -kill-after: must not be negative"]),
        ("an invalid boolean", Line(&["-exchange=no", "true"]), &[], 2, &["invalid value \"no\" for -exchange: expected true or false"]),
        ("an invalid output", Line(&["-output=x", "true"]), &[], 2, &["invalid value \"x\" for -output: expected discard, inherit, on-failure or masked"]),
        ("an invalid format", Line(&["-log-format=xml", "true"]), &[], 2, &["invalid value \"xml\" for -log-format: expected text or json"]),
        ("a service URL without an exchange", Line(&["-service-url", "--", "true"]), &[], 2, &["-service-url (or SERVICE_URL=true) cannot be used with -exchange=false"]),
        ("key without a verb", Line(&["key"]), &[], 2, &["missing subcommand: expected key generate, key public or key inspect"]),
        ("an unknown verb of key", Line(&["key", "make"]), &[], 2, &["unknown subcommand of key: make; expected key generate"]),
        ("a reason that does not exist", Line(&["explain", "nope"]), &[], 2, &["unknown reason \"nope\"; monitoring-token explain lists the reasons"]),
        ("two reasons", Line(&["explain", "dns", "usage"]), &[], 2, &["explain expects one reason"]),
        ("gafaelfawr without a verb", Line(&["gafaelfawr"]), &[], 2, &["missing subcommand: expected gafaelfawr create"]),
        ("stackstate with an unknown verb", Line(&["stackstate", "exek"]), &[], 2, &["unknown subcommand of stackstate", "did you mean exec?"]),
        ("check without exec", Line(&["check", "gafaelfawr", "list"]), &[], 2, &["check gafaelfawr must be followed by exec"]),
    ]
}

/// Unusable credentials of administrators.
#[rustfmt::skip]
pub fn credentials(lab: &Lab) -> Vec<Row> {
    const LIST: &[&str] = &["gafaelfawr", "list", "-url=http://127.0.0.1:1", "-username=u", "-timeout=500ms", "-admin-token-file"];
    let list = |file: &'static str| Line(Box::leak([LIST, &[file]].concat().into_boxed_slice()));
    lab.write("large.token", "x".repeat(64 * 1024 + 1));
    lab.write("two.tokens", "gt-a.b gt-c.d");
    lab.make_fifo("token-fifo");
    vec![
        ("no such file", list("{dir}/none"), &[], 125, &["cannot read the admin token from", "none: No such file", "--admin-token-file"]),
        ("too large", list("{dir}/large.token"), &[], 125, &["large.token: too large to be a token"]),
        ("two of them", list("{dir}/two.tokens"), &[], 125, &["two.tokens: not a token; expected one word of ASCII"]),
        ("a pipe nobody writes to", list("{dir}/token-fifo"), &[], 124, &["timed out after ", "while reading the admin token from", "token-fifo", "check the process that writes to it"]),
        ("no key to delete", Line(&["gafaelfawr", "delete", "-url=http://127.0.0.1:1", "-username=u"]), &["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"], 2, &["expected one KEY, as shown by gafaelfawr list"]),
        ("no path of an API", Line(&["stackstate", "list", "-url=http://127.0.0.1:1", "-api-path=?"]), &["STS_CLI_API_TOKEN=x"], 2, &["invalid value \"?\" for --api-path: expected a path such as /api"]),
        ("a CA file nobody writes to", Line(&["gafaelfawr", "list", "-url=https://127.0.0.1:1", "-username=u", "-timeout=500ms", "-ca-file={dir}/token-fifo"]), &["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"], 124, &["timed out after ", "while reading the CA file"]),
    ]
}

/// Commands that cannot be run, or do not exit.
#[rustfmt::skip]
pub fn commands(lab: &Lab) -> Vec<Row> {
    lab.write("text", "no program");
    for (name, text) in
        [("empty", ""), ("script", "#!/proc/nonexistent/interpreter\n"), ("odd-script", "#!/etc/passwd\n")]
    {
        // A shell writes them: a concurrent test could start its program while this process has the file open for
        // writing.
        let line = "printf %s \"$1\" >\"$0\"; chmod 755 \"$0\"";
        let status = Command::new("/bin/sh").args(["-c", line]).arg(lab.path(name)).arg(text).status().unwrap();
        assert!(status.success());
    }
    std::fs::create_dir(lab.path("directory")).unwrap();
    vec![
        ("SCRIPT_DEADLINE passed", At("http://x"), &["SCRIPT_DEADLINE=1.5"], 124, &["SCRIPT_DEADLINE had passed"]),
        ("no such program", Line(&["--", "/proc/nonexistent/program", "x"]), &[], 127, &["cannot run /proc/nonexistent/program: not found"]),
        ("no name of a program", Line(&["--", ""]), &[], 127, &["cannot run '': not found; check COMMAND"]),
        ("an empty program", Line(&["--", "{dir}/empty"]), &[], 126, &["empty: not an executable for this machine, or a script without a #! line"]),
        ("an interpreter that cannot be run", Line(&["--", "{dir}/odd-script"]), &[], 126, &["odd-script: its interpreter /etc/passwd cannot be run: Permission denied; check the #! line"]),
        ("no interpreter", Line(&["--", "{dir}/script"]), &[], 127, &["script: interpreter not found; check the #! line"]),
        ("a directory", Line(&["--", "{dir}/directory"]), &[], 126, &["directory: it is a directory"]),
        ("a relative entry of PATH", Line(&["--", "sh"]), &["PATH=../../../../../../../../../bin"], 126, &["cannot run sh: PATH has it only as ../", "in a relative entry, which is not searched"]),
        ("no PATH", Line(&["--", "sh"]), &["PATH"], 127, &["cannot run sh: not found: PATH is not set"]),
        ("a crash", Line(&["--", "sh", "-c", "kill -SEGV $$"]), &[], 139, &["sh was killed by SIGSEGV"]),
        ("no program", Line(&["--", "{dir}/text"]), &[], 126, &["text: Permission denied"]),
        ("a program without end", Line(&["-timeout=300ms", "--", "sleep", "60"]), &[], 124, &["timed out after 300ms; terminated sleep (SIGTERM)"]),
    ]
}
