// Command peer answers, with the libraries that M-Lab's programs are made of, the questions that the
// interop test asks: go-jose v4 as m-lab/access uses it, and Go's own flag, time, strconv and proxy
// rules, and crypto/x509. One question a line on standard input, as a JSON array; one JSON answer a line.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/net/http/httpproxy"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var words []string
		if err := json.Unmarshal(lines.Bytes(), &words); err != nil || len(words) == 0 {
			fmt.Fprintln(os.Stderr, "not a question:", lines.Text())
			os.Exit(2)
		}
		if err := out.Encode(answer(words[0], words[1:])); err != nil {
			os.Exit(2)
		}
	}
}

func answer(question string, words []string) any {
	switch question {
	case "verify":
		return verify(words[0], words[1], words[2])
	case "private":
		return loads(words[0], false)
	case "flags":
		return flags(words)
	case "duration":
		d, err := time.ParseDuration(words[0])
		if err != nil {
			return nil
		}
		return d.Nanoseconds()
	case "bool":
		b, err := strconv.ParseBool(words[0])
		if err != nil {
			return nil
		}
		return b
	case "proxied":
		return proxied(words[0], words[1])
	case "chain":
		return chain(words[0], words[1], words[2])
	case "query":
		return query(words[0], words[1])
	}
	return "unknown question"
}

// loads reads a JWK as a signer or a verifier must have it.
func loads(text string, public bool) string {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON([]byte(text)); err != nil {
		return err.Error()
	}
	if !jwk.Valid() || jwk.IsPublic() != public {
		return "not a valid key of this kind"
	}
	return ""
}

// verify checks a token as Locate does: three algorithms, the key by its id, no leeway.
// The answer is empty if the token holds, after the given number of seconds from now.
func verify(publicKey, token, seconds string) string {
	if wrong := loads(publicKey, true); wrong != "" {
		return wrong
	}
	var jwk jose.JSONWebKey
	_ = jwk.UnmarshalJSON([]byte(publicKey))
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256})
	if err != nil {
		return err.Error()
	}
	if parsed.Headers[0].KeyID != jwk.KeyID {
		return "key id not found"
	}
	var claims jwt.Claims
	if err := parsed.Claims(&jwk, &claims); err != nil {
		return err.Error()
	}
	later, _ := strconv.Atoi(seconds)
	expected := jwt.Expected{
		Issuer:      "monitoring",
		AnyAudience: jwt.Audience{"locate"},
		Time:        time.Now().Add(time.Duration(later) * time.Second),
	}
	if err := claims.ValidateWithLeeway(expected, 0); err != nil {
		return err.Error()
	}
	return ""
}

// flags parses a command line with the flags of the original, and says what became of them.
func flags(words []string) any {
	set := flag.NewFlagSet("original", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	values := map[string]*string{}
	for _, name := range []string{"locate-url", "machine", "service", "env-name", "service-url-key-name"} {
		values[name] = set.String(name, "", "")
	}
	timeout := set.Duration("timeout", time.Minute, "")
	serviceURL := set.Bool("service-url", false, "")
	if err := set.Parse(words); err != nil {
		return nil
	}
	given := map[string]any{}
	set.Visit(func(f *flag.Flag) {
		if value, ok := values[f.Name]; ok {
			given[f.Name] = *value
		}
	})
	given["timeout"] = timeout.Nanoseconds()
	given["service-url"] = *serviceURL
	given["words"] = set.Args()
	return given
}

func proxied(noProxy, target string) any {
	config := httpproxy.Config{HTTPProxy: "http://proxy.test:1", HTTPSProxy: "http://proxy.test:1", NoProxy: noProxy}
	parsed, err := url.Parse(target)
	if err != nil {
		return nil
	}
	proxy, err := config.ProxyFunc()(parsed)
	return err == nil && proxy != nil
}

// query does what the original does with its prefix: the query is kept and the token set.
func query(prefix, token string) any {
	parsed, err := url.Parse(prefix)
	if err != nil {
		return nil
	}
	values := parsed.Query()
	values.Set("access_token", token)
	parsed.RawQuery = values.Encode()
	return parsed.String()
}

// chain says why a TLS client does not trust a server that sends these certificates; empty if it does.
func chain(rootsPEM, chainPEM, host string) string {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(rootsPEM))
	var leaf *x509.Certificate
	for block, rest := pem.Decode([]byte(chainPEM)); block != nil; block, rest = pem.Decode(rest) {
		// As in crypto/tls, one that cannot be parsed ends the handshake.
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err.Error()
		}
		if leaf == nil {
			leaf = certificate
		} else {
			intermediates.AddCert(certificate)
		}
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: host}
	if _, err := leaf.Verify(options); err != nil {
		return err.Error()
	}
	return ""
}
