//! Problems of this machine: the key, the command line, the command.

use std::process::Command;

use super::Server::{At, Line};
use super::{Fault, Lab, fault};

/// Keys that cannot sign.
pub fn keys(lab: &Lab) -> Vec<Fault> {
    lab.write("large.json", " ".repeat(64 * 1024 + 1));
    lab.make_fifo("fifo");
    let none = || At("http://127.0.0.1:1");
    vec![
        fault("no key", none(), &["no signing key: set MONITORING_SIGNER_KEY"])
            .with(&["MONITORING_SIGNER_KEY"]),
        fault("an empty variable", none(), &["no signing key"]).with(&["MONITORING_SIGNER_KEY="]),
        fault(
            "no such file",
            none(),
            &[
                "cannot read key file /proc/nonexistent/key: No such file",
                "; correct the path in -monitoring-signer-key",
            ],
        )
        .with(&["-monitoring-signer-key=/proc/nonexistent/key"]),
        fault("a folder", none(), &["cannot read key file /", "Is a directory"])
            .with(&["-monitoring-signer-key={dir}"]),
        fault("too large", none(), &["larger than 64 KiB"])
            .with(&["-monitoring-signer-key={dir}/large.json"]),
        fault("a device", none(), &["larger than 64 KiB"]).with(&["-monitoring-signer-key=/dev/zero"]),
        fault("nothing", none(), &["it is empty"]).with(&["-monitoring-signer-key=/dev/null"]),
        fault(
            "a pipe nobody writes to",
            none(),
            &["timed out after ", "while reading the key", "fifo", "check the process that writes to it"],
        )
        .with(&["-monitoring-signer-key={dir}/fifo", "-timeout=500ms"])
        .exits(124),
        fault(
            "PEM in the variable",
            none(),
            &["MONITORING_SIGNER_KEY: expected the path of a private JWK, or", "and is not shown"],
        )
        .with(&["MONITORING_SIGNER_KEY=-----BEGIN PRIVATE KEY-----"]),
        fault(
            "a file: URL in the variable",
            none(),
            &["MONITORING_SIGNER_KEY: expected the path of the private JWK, not a file: URL"],
        )
        .with(&["MONITORING_SIGNER_KEY=file:///keys/k.json"]),
        fault(
            "a file: URL as the flag",
            none(),
            &["-monitoring-signer-key: expected the path of the private JWK"],
        )
        .with(&["-monitoring-signer-key=file:///keys/k.json"]),
        fault(
            "a path in quotation marks",
            none(),
            &[
                "MONITORING_SIGNER_KEY: expected the path of a private JWK, or",
                "; the value is in quotation marks; remove them",
            ],
        )
        .with(&["MONITORING_SIGNER_KEY=\"/keys/k.json\""]),
        fault(
            "a JWK in quotation marks",
            none(),
            &[
                "MONITORING_SIGNER_KEY: expected the path of a private JWK, or",
                "; the value is in quotation marks; remove them",
            ],
        )
        .with(&["MONITORING_SIGNER_KEY='{\"kty\":\"OKP\"}'"]),
        fault(
            "a path with a variable",
            none(),
            &[
                "-monitoring-signer-key: expected the path of a private JWK, or",
                "; a variable in the value was not expanded",
            ],
        )
        .with(&["-monitoring-signer-key=${KEYS}/k.json"]),
        fault(
            "PEM on the command line",
            none(),
            &["-monitoring-signer-key: expected the path of a private JWK, or", "and is not shown"],
        )
        .with(&["-monitoring-signer-key=-----BEGIN PRIVATE KEY-----"]),
        fault(
            "a pipe to inspect",
            Line(&["key", "inspect", "-timeout=500ms", "{dir}/fifo"]),
            &["timed out after ", "while reading the key", "fifo"],
        )
        .exits(124),
        fault(
            "a pipe to publish",
            Line(&["key", "public", "-timeout=500ms", "{dir}/fifo"]),
            &["timed out after ", "while reading the key", "fifo"],
        )
        .exits(124),
        fault(
            "a large file to inspect",
            Line(&["key", "inspect", "{dir}/large.json"]),
            &["larger than 64 KiB"],
        ),
        fault(
            "nothing to inspect",
            Line(&["key", "inspect", "{dir}/none"]),
            &["No such file", "give the path of a JWK"],
        ),
        fault(
            "a key in the place of a file",
            Line(&["key", "generate", "-out={dir}/large.json"]),
            &["large.json: File exists", "choose another file with --out"],
        ),
        fault(
            "a key in a folder that is not there",
            Line(&["key", "generate", "-out={dir}/no/key"]),
            &["cannot write", "no/key: No such file", "check --out"],
        ),
        fault(
            "no file to inspect",
            Line(&["key", "inspect"]),
            &["missing FILE: expected the path of one JWK"],
        )
        .exits(2),
        fault(
            "a key in place of its file",
            Line(&["key", "inspect", "{\"kty\":\"OKP\"}"]),
            &["expected the path of a file, not a key or a URL; it is not shown"],
        )
        .exits(2),
        fault("two files", Line(&["key", "inspect", "a", "b"]), &["expected one FILE, got 2: a b"]).exits(2),
        fault(
            "a file to generate",
            Line(&["key", "generate", "x"]),
            &["key generate takes no argument x; name the file with --out"],
        )
        .exits(2),
        fault(
            "a key id with a slash",
            Line(&["key", "generate", "-kid=a/b"]),
            &["-kid: must not contain a slash unless --out names the file"],
        )
        .exits(2),
        fault(
            "an empty key id",
            Line(&["key", "generate", "-kid", ""]),
            &["-kid: must not be empty; leave it out"],
        )
        .exits(2),
        fault(
            "an algorithm that Locate does not take",
            Line(&["key", "generate", "-alg=ES384"]),
            &["invalid value \"ES384\" for -alg: expected EdDSA, ES256 or RS256"],
        )
        .exits(2),
        fault("the key on the command line", none(), &["command lines are public", "MONITORING_SIGNER_KEY"])
            .with(&["-monitoring-signer-key={\"kty\":\"OKP\"}"])
            .exits(2),
        fault(
            "half a key in the variable",
            none(),
            &["cannot use the key in MONITORING_SIGNER_KEY: not valid JSON"],
        )
        .with(&["MONITORING_SIGNER_KEY={\"kty\":\"OKP\""]),
        fault("public", none(), &["public.json: this is a public key; signing needs the private key"])
            .with(&["-monitoring-signer-key={keys}/public.json"]),
        fault("symmetric", none(), &["this is a symmetric key"])
            .with(&["-monitoring-signer-key={keys}/symmetric.json"]),
        fault("a set", none(), &["this is a JWK set"]).with(&["-monitoring-signer-key={keys}/set.json"]),
        fault("encrypted, compact", none(), &["this key is encrypted (JWE)"])
            .with(&["-monitoring-signer-key={keys}/encrypted.jwe"]),
        fault("encrypted, as JSON", none(), &["this key is encrypted (JWE)"])
            .with(&["-monitoring-signer-key={keys}/encrypted.json"]),
        fault("PEM", none(), &["this is PEM, not a JWK", "key generate"])
            .with(&["-monitoring-signer-key={keys}/private.pem"]),
        fault(
            "another alg",
            none(),
            &["its \"alg\" \"RS256\" does not fit this key, which signs with ES256"],
        )
        .with(&["-monitoring-signer-key={keys}/wrong-alg.json"]),
        fault("an alg of HMAC", none(), &["its \"alg\" \"HS256\" does not fit"])
            .with(&["-monitoring-signer-key={keys}/hmac-alg.json"]),
        fault("another use", none(), &["its \"use\" is \"enc\"; signing needs \"sig\""])
            .with(&["-monitoring-signer-key={keys}/wrong-use.json"]),
        fault("another public part, EC", none(), &["the public and private parts do not match"])
            .with(&["-monitoring-signer-key={keys}/mismatched-ec.json"]),
        fault("another public part, Ed25519", none(), &["the public and private parts do not match"])
            .with(&["-monitoring-signer-key={keys}/mismatched-ed25519.json"]),
        fault("another public part, RSA", none(), &["the public and private parts do not match"])
            .with(&["-monitoring-signer-key={keys}/mismatched-rsa.json"]),
        fault("another exponent, RSA", none(), &["the public and private parts do not match"])
            .with(&["-monitoring-signer-key={keys}/wrong-dp.json"]),
        fault(
            "RSA of 1024 bits",
            none(),
            &["an RSA key of 1024 bits is too short; use one of 2048, 3072 or 4096 bits"],
        )
        .with(&["-monitoring-signer-key={keys}/rsa-1024.json"]),
        fault(
            "RSA without primes",
            none(),
            &["\"p\" and \"q\" are missing; a private RSA key needs n, e, d, p and q"],
        )
        .with(&["-monitoring-signer-key={keys}/rsa-without-primes.json"]),
        fault("P-521", none(), &["curve \"P-521\" is not supported"])
            .with(&["-monitoring-signer-key={keys}/p521.json"]),
        fault("secp256k1", none(), &["curve \"secp256k1\" is not supported"])
            .with(&["-monitoring-signer-key={keys}/secp256k1.json"]),
        fault("X25519", none(), &["curve \"X25519\" cannot sign"])
            .with(&["-monitoring-signer-key={keys}/x25519.json"]),
        fault("no base64url", none(), &["\"d\" is not valid base64url"])
            .with(&["-monitoring-signer-key={keys}/bad-base64.json"]),
        fault("short", none(), &["\"d\" must have 32 bytes, not 30"])
            .with(&["-monitoring-signer-key={keys}/short.json"]),
        fault("without a type", none(), &["this is not a JWK: \"kty\" is missing"])
            .with(&["-monitoring-signer-key={keys}/without-kty.json"]),
        fault("of an unknown type", none(), &["key type \"AKP\" is not supported"])
            .with(&["-monitoring-signer-key={keys}/unknown-kty.json"]),
        fault("without a public part", none(), &["\"x\" is missing"])
            .with(&["-monitoring-signer-key={keys}/without-x.json"]),
        fault("a number for a name", none(), &["\"kid\" must be a string, not a number"])
            .with(&["-monitoring-signer-key={keys}/kid-number.json"]),
        fault("a list", none(), &["expected one JSON object, found a list"])
            .with(&["-monitoring-signer-key={keys}/array.json"]),
        fault("text", none(), &["not valid JSON (line 1, column 1)"])
            .with(&["-monitoring-signer-key={keys}/not-json.txt"]),
        fault("cut off", none(), &["not valid JSON"]).with(&["-monitoring-signer-key={keys}/truncated.json"]),
        fault("empty", none(), &["it is empty"]).with(&["-monitoring-signer-key={keys}/empty.json"]),
    ]
}

/// Invalid command lines.
pub fn usage(_: &Lab) -> Vec<Fault> {
    vec![
        fault("no CA file", At("http://x"), &["-ca-file"]).with(&["-ca-file="]).exits(2),
        fault("a token in place of a CA file", At("http://x"), &["-ca-file: expected a path, not a token or key"]).with(&["-ca-file=svctok-TiehfOUDpmyL6BJQVOywEdWgyMlcMzD6"]).exits(2),
        fault("a URL in place of a CA file", At("http://x"), &["-ca-file: expected a path, not a URL; it is not shown"]).with(&["-ca-file=https://u:hunter2@h/ca.pem"]).exits(2),
        fault("an invalid Locate URL", At("nonsense"), &["LOCATE_URL: invalid URL: expected a URL that begins with http:// or https://"]).exits(2),
        fault("a Locate URL of another scheme", At("ftp://h/x"), &["LOCATE_URL: invalid URL \"ftp://h/x\": expected a URL that begins with http:// or https://"]).exits(2),
        fault("a Locate URL without a host", At("x"), &["-locate-url: invalid URL \"http://\": it has no host; expected http://HOST/"]).with(&["-locate-url=http://"]).exits(2),
        fault("a variable that can be none", At("http://x"), &["invalid value \"A=B\" for -env-name: not a valid environment variable name"]).with(&["-env-name=A=B"]).exits(2),
        fault("a service with a blank", At("http://x"), &["invalid value \"ndt/ndt 7\" for -service: contains a space, quotation mark or control character; use <experiment>/<datatype>"]).with(&["-service=ndt/ndt 7"]).exits(2),
        fault("invalid retries", At("http://x"), &["invalid value \"-1\" for -retries: expected a whole number such as 0, 1 or 2"]).with(&["-retries=-1"]).exits(2),
        fault("an empty Locate URL", At("http://x"), &["-locate-url: invalid URL: it is empty; set it to the URL of Locate's monitoring path"]).with(&["-locate-url="]).exits(2),
        fault("a label without a value", Line(&["-metrics-label=x", "true"]), &["invalid value \"x\" for -metrics-label: expected NAME=VALUE"]).exits(2),
        fault("a label in the variable", Line(&["true"]), &["invalid value \"x\" for MONITORING_TOKEN_METRICS_LABEL: expected NAME=VALUE"]).with(&["MONITORING_TOKEN_METRICS_LABEL=x"]).exits(2),
        fault("an empty output", Line(&["-output=", "true"]), &["empty value for -output"]).exits(2),
        fault("an empty name", Line(&["stackstate", "create", "--name="]), &["empty value for --name"]).with(&["STS_CLI_API_TOKEN=x", "STS_CLI_URL=http://x"]).exits(2),
        fault("a format of a list", Line(&["gafaelfawr", "list", "--username=u", "--url=http://x", "--output=xml"]), &["expected text or json"]).with(&["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"]).exits(2),
        fault("a flag with a value that has none", Line(&["-version=x"]), &["flag -version takes no value"]).exits(2),
        fault("a variable with a carriage return", At("http://x"), &["invalid value \"m\\r\" for MACHINE: contains a control character"]).with(&["MACHINE=m\r"]).exits(2),
        fault("a URL key with a blank", At("http://x"), &["invalid value \"wss:///x \" for SERVICE_URL_KEY_NAME: begins or ends with whitespace"]).with(&["SERVICE_URL_KEY_NAME=wss:///x "]).exits(2),
        fault("a boolean after a boolean flag", Line(&["-service-url", "true", "-machine=m"]), &["-service-url true: a boolean flag takes its value after ="]).exits(2),
        fault("a mistyped subcommand", Line(&["chek", "-machine=m"]), &["unknown command chek; did you mean check?"]).exits(2),
        fault("help for what is none", Line(&["help", "chek"]), &["help: unknown command chek; did you mean check?"]).exits(2),
        fault("an empty key name", At("http://x"), &["-service-url-key-name: the key is empty"]).with(&["-service-url-key-name="]).exits(2),
        fault("a host with an unexpanded variable", At("http://locate-dot-${PROJECT}.example/"), &["LOCATE_URL: invalid URL", "invalid host locate-dot-${project}.example; a variable in it was not expanded"]).exits(2),
        fault("the same in a flag", At("http://x"), &["-locate-url: invalid URL", "invalid host $host"]).with(&["-locate-url=http://$HOST/"]).exits(2),
        fault("a user of a Locate URL", At("http://x"), &["-locate-url: invalid URL \"http://REDACTED@$HOST/?a=REDACTED\": invalid host $host"]).with(&["-locate-url=http://u:hunter2@$HOST/?a=b"]).exits(2),
        fault("the same of another service", Line(&["gafaelfawr", "list", "-username=u", "-url=http://{{host}}/"]), &["-url: invalid host"]).with(&["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"]).exits(2),
        fault("an unknown flag", Line(&["-nope", "true"]), &["unknown flag -nope", "-help"]).exits(2),
        fault("three dashes", Line(&["---machine=m", "true"]), &["invalid flag syntax: ---machine=…"]).exits(2),
        fault("a flag without its value", Line(&["-machine"]), &["flag -machine needs a value"]).exits(2),
        fault("a machine that is not text", Line(&["-machine={ff}", "true"]), &["invalid value \"\u{fffd}\" for -machine: not valid UTF-8"]).exits(2),
        fault("no command", Line(&["-machine=m", "--"]), &["missing command to run: monitoring-token [flags] -- COMMAND"]).exits(2),
        fault("a timeout without a unit", Line(&["true"]), &["invalid value \"5\" for TIMEOUT: expected a duration such as 250ms, 5s or 1m30s"]).with(&["TIMEOUT=5"]).exits(2),
        fault("a timeout of zero", Line(&["-timeout=0s", "true"]), &["invalid value \"0s\" for -timeout: must be greater than zero"]).exits(2),
        fault("a grace below zero", Line(&["-kill-after=-1s", "true"]), &["invalid value \"-1s\" for -kill-after: must not be negative"]).exits(2),
        fault("an invalid boolean", Line(&["-exchange=no", "true"]), &["invalid value \"no\" for -exchange: expected true or false"]).exits(2),
        fault("an invalid output", Line(&["-output=x", "true"]), &["invalid value \"x\" for -output: expected discard, inherit, on-failure or masked"]).exits(2),
        fault("an invalid format", Line(&["-log-format=xml", "true"]), &["invalid value \"xml\" for -log-format: expected text or json"]).exits(2),
        fault("a service URL without an exchange", Line(&["-service-url", "--", "true"]), &["-service-url (or SERVICE_URL=true) cannot be used with -exchange=false"]).exits(2),
        fault("key without a verb", Line(&["key"]), &["missing subcommand: expected key generate, key public or key inspect"]).exits(2),
        fault("help for an unknown verb", Line(&["help", "key", "make"]), &["unknown subcommand of key: make; expected"]).exits(2),
        fault("an unknown verb of gafaelfawr", Line(&["gafaelfawr", "frob"]), &["unknown subcommand of gafaelfawr: frob; expected"]).exits(2),
        fault("a base URL without a scheme", Line(&["gafaelfawr", "list", "--username=u", "--url=data.example.org"]), &["invalid value \"data.example.org\" for --url: expected an http:// or https:// URL"]).exits(2),
        fault("an unknown verb of key", Line(&["key", "make"]), &["unknown subcommand of key: make; expected key generate"]).exits(2),
        fault("a reason that does not exist", Line(&["explain", "nope"]), &["unknown reason \"nope\"; monitoring-token explain lists the reasons"]).exits(2),
        fault("two reasons", Line(&["explain", "dns", "usage"]), &["explain expects one reason"]).exits(2),
        fault("gafaelfawr without a verb", Line(&["gafaelfawr"]), &["missing subcommand: expected gafaelfawr create"]).exits(2),
        fault("stackstate with an unknown verb", Line(&["stackstate", "exek"]), &["unknown subcommand of stackstate", "did you mean exec?"]).exits(2),
        fault("check without exec", Line(&["check", "gafaelfawr", "list"]), &["check works only for gafaelfawr exec, not for list; use: monitoring-token check gafaelfawr exec --username"]).exits(2),
        fault("check before a subcommand without exec", Line(&["check", "key", "inspect", "x"]), &["check works only for a run and for exec, not for key; to check a command called key"]).exits(2),
    ]
}

/// Unusable credentials of administrators.
pub fn credentials(lab: &Lab) -> Vec<Fault> {
    const LIST: &[&str] = &[
        "gafaelfawr",
        "list",
        "-url=http://127.0.0.1:1",
        "-username=u",
        "-timeout=500ms",
        "-admin-token-file",
    ];
    let list = |file: &'static str| Line(Box::leak([LIST, &[file]].concat().into_boxed_slice()));
    lab.write("large.token", "x".repeat(64 * 1024 + 1));
    lab.write("two.tokens", "gt-a.b gt-c.d");
    lab.make_fifo("token-fifo");
    vec![
        fault(
            "no such file",
            list("{dir}/none"),
            &["cannot read the admin token from", "none: No such file", "--admin-token-file"],
        ),
        fault("too large", list("{dir}/large.token"), &["large.token: too large to be a token"]),
        fault(
            "two of them",
            list("{dir}/two.tokens"),
            &["two.tokens: not a token; expected one word of ASCII"],
        ),
        fault(
            "a pipe nobody writes to",
            list("{dir}/token-fifo"),
            &[
                "timed out after ",
                "while reading the admin token from",
                "token-fifo",
                "check the process that writes to it",
            ],
        )
        .exits(124),
        fault(
            "no key to delete",
            Line(&["gafaelfawr", "delete", "-url=http://127.0.0.1:1", "-username=u"]),
            &["expected one KEY, as shown by gafaelfawr list"],
        )
        .with(&["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"])
        .exits(2),
        fault(
            "no path of an API",
            Line(&["stackstate", "list", "-url=http://127.0.0.1:1", "-api-path=?"]),
            &["invalid value \"?\" for --api-path: expected a path such as /api"],
        )
        .with(&["STS_CLI_API_TOKEN=x"])
        .exits(2),
        fault(
            "a CA file nobody writes to",
            Line(&[
                "gafaelfawr",
                "list",
                "-url=https://127.0.0.1:1",
                "-username=u",
                "-timeout=500ms",
                "-ca-file={dir}/token-fifo",
            ]),
            &["timed out after ", "while reading the CA file"],
        )
        .with(&["GAFAELFAWR_ADMIN_TOKEN=gt-a.b"])
        .exits(124),
    ]
}

/// Commands that cannot be run, or do not exit.
pub fn commands(lab: &Lab) -> Vec<Fault> {
    lab.write("text", "no program");
    for (name, text) in
        [("empty", ""), ("script", "#!/proc/nonexistent/interpreter\n"), ("odd-script", "#!/etc/passwd\n")]
    {
        // A shell writes them: a concurrent test could start its program while this process has the file open for
        // writing.
        let line = "printf %s \"$1\" >\"$0\"; chmod 755 \"$0\"";
        let status =
            Command::new("/bin/sh").args(["-c", line]).arg(lab.path(name)).arg(text).status().unwrap();
        assert!(status.success());
    }
    std::fs::create_dir(lab.path("directory")).unwrap();
    vec![
        fault("SCRIPT_DEADLINE passed", At("http://x"), &["SCRIPT_DEADLINE had passed"])
            .with(&["SCRIPT_DEADLINE=1.5"])
            .exits(124),
        fault(
            "no such program",
            Line(&["--", "/proc/nonexistent/program", "x"]),
            &["cannot run /proc/nonexistent/program: not found"],
        )
        .exits(127),
        fault("no name of a program", Line(&["--", ""]), &["cannot run '': not found; check COMMAND"])
            .exits(127),
        fault(
            "an empty program",
            Line(&["--", "{dir}/empty"]),
            &["empty: not an executable for this machine, or a script without a #! line"],
        )
        .exits(126),
        fault(
            "an interpreter that cannot be run",
            Line(&["--", "{dir}/odd-script"]),
            &["odd-script: its interpreter /etc/passwd cannot be run: Permission denied; check the #! line"],
        )
        .exits(126),
        fault(
            "no interpreter",
            Line(&["--", "{dir}/script"]),
            &["script: interpreter not found; check the #! line"],
        )
        .exits(127),
        fault("a directory", Line(&["--", "{dir}/directory"]), &["directory: it is a directory"]).exits(126),
        fault(
            "a relative entry of PATH",
            Line(&["--", "sh"]),
            &["cannot run sh: PATH has it only as ../", "in a relative entry, which is not searched"],
        )
        .with(&["PATH=../../../../../../../../../bin"])
        .exits(126),
        fault("no PATH", Line(&["--", "sh"]), &["cannot run sh: not found: PATH is not set"])
            .with(&["PATH"])
            .exits(127),
        fault(
            "a crash",
            Line(&["--", "sh", "-c", "kill -SEGV $$"]),
            &["sh was killed by SIGSEGV: it crashed; run it with -output=on-failure"],
        )
        .exits(139),
        fault("no program", Line(&["--", "{dir}/text"]), &["text: Permission denied"]).exits(126),
        fault(
            "a program without end",
            Line(&["-timeout=300ms", "--", "sleep", "60"]),
            &["timed out after 300ms; terminated sleep (SIGTERM)"],
        )
        .exits(124),
    ]
}
