//! Valid and invalid certificate chains: the server's certificates, the trust store, and whether the server is trusted.
//! `tests/certificates.rs` tries each on the program, `make interop` also on Go's crypto/x509 and on `openssl verify`.
//!
//! Public sources: golang/go#24652 and mozilla bug 985025 (path lengths), golang/go#39360 (a pinned leaf),
//! rustls/webpki#62 (short keys), openssl#31377 (an address as a DNS name), mqttui#142 and rustls#1091 (version 1,
//! critical extensions), rustls#2536, rustls#1367 and turborepo#13036 (P-521, SHA-512 with P-256), the AddTrust expiry
//! of May 2020 (an expired cross-signed root beside a good one).

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SigningKey as _,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use x509_cert::der::asn1::{BitString, OctetString};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{Certificate, TbsCertificate, Version};

use super::tls::{Identity, pem_of, server_params};

/// How OpenSSL differs on extended key usage.
const ANY: &str = "it does not count anyExtendedKeyUsage";

pub type Der = CertificateDer<'static>;

/// A server's certificates, the trust store, and the expected result.
pub struct Case {
    pub name: &'static str,
    pub roots: Vec<Der>,
    pub server: Identity,
    /// The host of the URL.
    pub host: &'static str,
    /// `None` if the server is trusted, otherwise words of the message.
    pub refused: Option<&'static [&'static str]>,
    /// The reason if Go decides differently.
    pub go: Option<&'static str>,
    /// The reason if `openssl verify` decides differently.
    pub openssl: Option<&'static str>,
}

impl Case {
    fn new(name: &'static str, roots: Vec<Der>, server: Identity) -> Case {
        Case { name, roots, server, host: "127.0.0.1", refused: None, go: None, openssl: None }
    }

    fn refused(self, words: &'static [&'static str]) -> Case {
        Case { refused: Some(words), ..self }
    }

    fn at(self, host: &'static str) -> Case {
        Case { host, ..self }
    }

    fn unlike_go(self, why: &'static str) -> Case {
        Case { go: Some(why), ..self }
    }

    fn unlike_openssl(self, why: &'static str) -> Case {
        Case { openssl: Some(why), ..self }
    }

    /// The trust store as PEM.
    pub fn roots_pem(&self) -> String {
        self.roots.iter().map(pem_of).collect()
    }
}

/// A CA: its certificate, its key, and its parameters.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    der: Der,
}

fn ca_params(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = server_params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages.clear();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Ca {
    fn root(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Ca {
        let (params, key) = (ca_params(name, change), key());
        let der = params.self_signed(&key).expect("a certificate").der().clone();
        Ca { params, key, der }
    }

    /// A valid root without restrictions.
    fn sound(name: &str) -> Ca {
        Ca::root(name, |_| {})
    }

    /// Another self-signed certificate with the same name and key.
    fn again(&self, change: impl FnOnce(&mut CertificateParams)) -> Der {
        let mut params = self.params.clone();
        change(&mut params);
        params.self_signed(&self.key).expect("a certificate").der().clone()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// An intermediate CA.
    fn sub(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Ca {
        let (params, key) = (ca_params(name, change), key());
        let der = params.signed_by(&key, &self.issuer()).expect("a certificate").der().clone();
        Ca { params, key, der }
    }

    /// A certificate for this CA's name and key, issued by another CA.
    fn crossed_by(&self, other: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Der {
        let mut params = self.params.clone();
        change(&mut params);
        params.signed_by(&self.key, &other.issuer()).expect("a certificate").der().clone()
    }

    /// A server's certificate, with the certificates that the server sends after it.
    fn leaf(&self, sent: &[&Der], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1"]);
        change(&mut params);
        let key = key();
        let der = params.signed_by(&key, &self.issuer()).expect("a certificate").der().clone();
        Identity::new(der, sent.iter().map(|der| (*der).clone()).collect(), key)
    }

    /// A valid server's certificate.
    fn server(&self, sent: &[&Der]) -> Identity {
        self.leaf(sent, |_| {})
    }

    /// A server's certificate with a change that rcgen does not support, signed by this CA.
    fn odd_leaf(&self, change: impl FnOnce(&mut TbsCertificate)) -> Identity {
        let Identity { certificate, key, .. } = self.server(&[]);
        Identity::new(resign(&certificate, &self.key, change), Vec::new(), key)
    }

    /// This CA's own certificate with such a change.
    fn odd(&self, change: impl FnOnce(&mut TbsCertificate)) -> Der {
        resign(&self.der, &self.key, change)
    }
}

/// Signs a certificate again after a change that rcgen does not support.
fn resign(der: &Der, key: &KeyPair, change: impl FnOnce(&mut TbsCertificate)) -> Der {
    let mut certificate = Certificate::from_der(der).expect("rcgen writes DER");
    change(&mut certificate.tbs_certificate);
    certificate.signature_algorithm = certificate.tbs_certificate.signature.clone();
    let signed = certificate.tbs_certificate.to_der().expect("it can be encoded");
    certificate.signature = BitString::from_bytes(&key.sign(&signed).expect("a signature")).expect("bits");
    certificate.to_der().expect("it can be encoded").into()
}

fn make_version_1(certificate: &mut TbsCertificate) {
    certificate.version = Version::V1;
    certificate.extensions = None;
}

/// Claims ECDSA with SHA-512; with a P-256 key that is valid, but ring does not verify it.
fn say_sha512(certificate: &mut TbsCertificate) {
    let oid = "1.2.840.10045.4.3.4".parse().expect("an OID");
    certificate.signature = AlgorithmIdentifierOwned { oid, parameters: None };
}

/// A public key of this kind; nobody has the private one.
fn public_key(algorithm: &str, curve: Option<&str>, bytes: &[u8]) -> SubjectPublicKeyInfoOwned {
    let parameters = match curve {
        Some(curve) => x509_cert::der::Any::encode_from(
            &curve.parse::<x509_cert::der::asn1::ObjectIdentifier>().expect("an OID"),
        ),
        None => x509_cert::der::Any::encode_from(&x509_cert::der::asn1::Null),
    };
    SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: algorithm.parse().expect("an OID"),
            parameters: Some(parameters.expect("it can be encoded")),
        },
        subject_public_key: BitString::from_bytes(bytes).expect("bits"),
    }
}

fn rsa_key(bits: usize) -> SubjectPublicKeyInfoOwned {
    let modulus: Vec<u8> = std::iter::once(0xc3).chain(std::iter::repeat_n(0x55, bits / 8 - 1)).collect();
    let uint = |bytes| x509_cert::der::asn1::Uint::new(bytes).expect("a number");
    let key = [uint(&modulus), uint(&[1, 0, 1])].to_vec().to_der().expect("it can be encoded");
    public_key("1.2.840.113549.1.1.1", None, &key)
}

fn p521_key() -> SubjectPublicKeyInfoOwned {
    let point: Vec<u8> = [&[4, 0][..], &[0x42; 65], &[0], &[0x17; 65]].concat();
    public_key("1.2.840.10045.2.1", Some("1.3.132.0.35"), &point)
}

/// An unknown extension.
fn unknown_extension(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

fn dns(name: &str) -> GeneralSubtree {
    GeneralSubtree::DnsName(name.to_owned())
}

fn addresses(first: u8) -> GeneralSubtree {
    GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([first, 0, 0, 0], 8))
}

fn permit(subtrees: Vec<GeneralSubtree>) -> NameConstraints {
    NameConstraints { permitted_subtrees: subtrees, excluded_subtrees: Vec::new() }
}

fn exclude(subtrees: Vec<GeneralSubtree>) -> NameConstraints {
    NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: subtrees }
}

fn expire(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2021, 2, 3);
}

fn begin_late(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2100, 1, 1);
}

/// A server whose self-signed certificate is not the one of that name in the trust store any more.
fn renewed(name: &'static str, change: impl FnOnce(&mut TbsCertificate)) -> Case {
    let server = |p: &mut CertificateParams| {
        p.is_ca = IsCa::ExplicitNoCa;
        p.key_usages.clear();
        p.subject_alt_names = server_params(&["localhost", "127.0.0.1"]).subject_alt_names;
    };
    let (old, new) = (Ca::root("the server", server), Ca::root("the server", server));
    let der = resign(&new.der, &new.key, change);
    Case::new(name, vec![old.der], Identity::new(der, Vec::new(), new.key))
}

/// Every case.
pub fn all() -> Vec<Case> {
    [anchors(), constraints(), same_names(), intermediates(), pinned(), leaves(), names(), algorithms()]
        .into_iter()
        .flatten()
        .collect()
}

/// Valid and invalid trust anchors (RFC 5280, 4.2.1; Go's `CheckSignatureFrom` and `isValid`).
pub fn anchors() -> Vec<Case> {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    let by = |name, change: fn(&mut CertificateParams)| {
        let root = Ca::root("the root", change);
        Case::new(name, vec![root.der.clone()], root.server(&[]))
    };
    let version_1 = Ca::sound("the root");
    let old_version_1 = Ca::root("the root", expire);
    // Debian's ssl-cert package puts such a certificate for its own host name into /etc/ssl/certs.
    let snakeoil = Ca::root("localhost", |p| {
        p.subject_alt_names = server_params(&["localhost"]).subject_alt_names;
        p.key_usages.clear();
        p.is_ca = IsCa::ExplicitNoCa;
    });
    vec![
        by("a sound root", |_| {}),
        by("a root with a serial number of 32 bytes", |p| p.serial_number = Some(vec![7; 32].into())),
        by("a root that is explicitly no CA", |p| p.is_ca = IsCa::ExplicitNoCa)
            .refused(&["its issuer \"the root\"", "is not a CA certificate"]),
        by("a root without basic constraints", |p| p.is_ca = IsCa::NoCa)
            .refused(&["its issuer \"the root\"", "is not a CA certificate"])
            .unlike_openssl("it takes a self-signed certificate without basic constraints for a CA"),
        Case::new("signed with a server's key", vec![snakeoil.der.clone()], snakeoil.server(&[]))
            .refused(&["its issuer \"localhost\"", "is not a CA certificate"]),
        by("an expired root", expire).refused(&["its issuer \"the root\"", "expired on Wed, 03 Feb 2021"]),
        by("a root that is not valid yet", begin_late)
            .refused(&["its issuer \"the root\"", "is not valid before Fri, 01 Jan 2100"]),
        by("a root that may not sign certificates", |p| {
            p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        })
        .refused(&["its issuer \"the root\"", "keyUsage lacks keyCertSign"]),
        by("a root that may sign only revocation lists", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign])
            .refused(&["its issuer \"the root\"", "keyUsage lacks keyCertSign"]),
        by("a root without key usage", |p| p.key_usages.clear()),
        by("a root for clients", |p| p.extended_key_usages = vec![ClientAuth])
            .refused(&["its issuer \"the root\"", "extendedKeyUsage lacks serverAuth"]),
        by("a root for code", |p| p.extended_key_usages = vec![CodeSigning])
            .refused(&["its issuer \"the root\"", "extendedKeyUsage lacks serverAuth"]),
        by("a root for servers and clients", |p| p.extended_key_usages = vec![ClientAuth, ServerAuth]),
        by("a root for anything", |p| p.extended_key_usages = vec![Any]).unlike_openssl(ANY),
        by("a root with an unknown critical extension", |p| {
            p.custom_extensions = vec![unknown_extension(true)];
        })
        .refused(&["its issuer \"the root\"", "has a critical extension", "(1.2.3.4.5)"]),
        by("a root with an unknown extension", |p| p.custom_extensions = vec![unknown_extension(false)]),
        Case::new("a root of version 1", vec![version_1.odd(make_version_1)], version_1.server(&[])),
        Case::new(
            "an expired root of version 1",
            vec![old_version_1.odd(make_version_1)],
            old_version_1.server(&[]),
        )
        .refused(&["its issuer \"the root\"", "expired on Wed, 03 Feb 2021"]),
    ]
}

/// Path lengths and name constraints of trust anchors.
pub fn constraints() -> Vec<Case> {
    const NAMES: &[&str] = &["is not trusted: its chain has a CA whose name constraints do not allow"];
    // SEQUENCE { TRUE, 300 }
    const LENGTH_300: [u8; 9] = [0x30, 7, 1, 1, 0xff, 2, 2, 1, 0x2c];
    let length = |params: &mut CertificateParams, length| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
    };
    let chain = |name, allowed: u8, intermediates: usize| {
        let root = Ca::root("the root", |p| length(p, allowed));
        let mut cas = vec![root];
        for number in 0..intermediates {
            let next = cas[number].sub(&format!("intermediate {number}"), |_| {});
            cas.push(next);
        }
        let sent: Vec<&Der> = cas[1..].iter().rev().map(|ca| &ca.der).collect();
        Case::new(name, vec![cas[0].der.clone()], cas[intermediates].server(&sent))
    };
    let long = Ca::root("the root", |p| length(p, 3));
    let length_300 = |certificate: &mut TbsCertificate| {
        let found =
            certificate.extensions.iter_mut().flatten().find(|it| it.extn_id.to_string() == "2.5.29.19");
        found.expect("rcgen writes it").extn_value = OctetString::new(LENGTH_300).expect("bytes");
    };
    let named = |name, constraints| {
        let root = Ca::root("the root", |p| p.name_constraints = Some(constraints));
        Case::new(name, vec![root.der.clone()], root.server(&[]))
    };
    vec![
        chain("no intermediate below path length 0", 0, 0),
        chain("an intermediate below path length 0", 0, 1)
            .refused(&["its issuer \"the root\"", "(path length constraint: 0, found: 1)"]),
        chain("an intermediate below path length 1", 1, 1),
        chain("two intermediates below path length 1", 1, 2)
            .refused(&["its issuer \"the root\"", "(path length constraint: 1, found: 2)"]),
        Case::new("a root with path length 300", vec![long.odd(length_300)], long.server(&[])),
        chain("six intermediates", 6, 6),
        chain("seven intermediates", 7, 7)
            .refused(&["is not trusted: its chain has more than 6 intermediate certificates"])
            .unlike_go("it follows longer chains")
            .unlike_openssl("it follows longer chains"),
        named("a root for this name and address", permit(vec![dns("localhost"), addresses(127)])),
        named("a root for another name", permit(vec![dns("other.example")])).at("localhost").refused(NAMES),
        named("a root for another network", permit(vec![addresses(10)])).refused(NAMES),
        named("a root that excludes this name", exclude(vec![dns("localhost")]))
            .at("localhost")
            .refused(NAMES),
        named("a root that excludes this network", exclude(vec![addresses(127)])).refused(NAMES),
        named("a root that excludes other names", exclude(vec![dns("other.example"), addresses(10)])),
        named("a root for mail addresses", permit(vec![GeneralSubtree::Rfc822Name("example".to_owned())])),
    ]
}

/// Several certificates with one name: each is tried, in any order.
pub fn same_names() -> Vec<Case> {
    let root = Ca::sound("the root");
    let (expired, renewed) = (root.again(expire), root.again(|_| {}));
    let impostor = Ca::sound("the root");
    let no_ca = Ca::root("the root", |p| p.is_ca = IsCa::ExplicitNoCa);
    let middle = root.sub("intermediate", |_| {});
    let elsewhere = Ca::sound("another root");
    let crossed = middle.crossed_by(&elsewhere, |_| {});
    let crossed_long_ago = middle.crossed_by(&elsewhere, expire);
    let old_root_crossed = root.crossed_by(&elsewhere, expire);
    let (a, b) = (Ca::sound("a"), Ca::sound("b"));
    let (a_by_b, b_by_a) = (a.crossed_by(&b, |_| {}), b.crossed_by(&a, |_| {}));
    // As Active Directory renews a CA: each generation certifies its neighbors. The clients trust the first one.
    let with_issuer_key = |p: &mut CertificateParams| p.use_authority_key_identifier_extension = true;
    let generations = [(); 4].map(|()| Ca::sound("the renewed CA"));
    let mut between: Vec<Der> = generations.iter().map(|ca| ca.der.clone()).collect();
    for pair in generations.windows(2) {
        between.push(pair[0].crossed_by(&pair[1], with_issuer_key));
        between.push(pair[1].crossed_by(&pair[0], with_issuer_key));
    }
    let between: Vec<&Der> = between.iter().collect();
    vec![
        Case::new(
            "an expired root, then the renewed one",
            vec![expired.clone(), renewed.clone()],
            root.server(&[]),
        ),
        Case::new("a renewed root, then the expired one", vec![renewed, expired.clone()], root.server(&[])),
        Case::new(
            "a CA that was renewed three times",
            vec![generations[0].der.clone()],
            generations[3].leaf(&between, with_issuer_key),
        )
        .unlike_openssl("it stops at a self-signed certificate that is not a root"),
        Case::new(
            "an impostor of the same name, then the root",
            vec![impostor.der.clone(), no_ca.der.clone(), root.der.clone()],
            root.server(&[]),
        )
        .unlike_openssl("it tries one root of a name"),
        Case::new(
            "the root, then an impostor",
            vec![root.der.clone(), impostor.der.clone()],
            root.server(&[]),
        ),
        Case::new("only an impostor", vec![impostor.der.clone()], root.server(&[])).refused(&[
            "is not trusted",
            "the CA \"the root\", in ",
            "has the same name but another key",
        ]),
        Case::new("an impostor, and the root expired", vec![impostor.der.clone(), expired], root.server(&[]))
            .refused(&["its issuer \"the root\"", "expired on Wed, 03 Feb 2021"]),
        Case::new(
            "the same root three times",
            vec![root.der.clone(), root.der.clone(), root.der.clone()],
            root.server(&[]),
        ),
        Case::new(
            "a cross-signed intermediate, by the root that is not trusted first",
            vec![root.der.clone()],
            middle.server(&[&crossed, &middle.der]),
        )
        .unlike_openssl("it tries one intermediate of a name"),
        Case::new(
            "a cross-signed intermediate that expired, beside the good one",
            vec![root.der.clone()],
            middle.server(&[&crossed_long_ago, &middle.der]),
        ),
        Case::new(
            "only the cross-signed intermediate that expired",
            vec![elsewhere.der.clone()],
            middle.server(&[&crossed_long_ago]),
        )
        .refused(&["its issuer \"intermediate\", sent by the server, expired on Wed, 03 Feb 2021"]),
        // As with AddTrust in May 2020.
        Case::new(
            "a root in the store, and its expired cross-signed certificate sent",
            vec![root.der.clone(), elsewhere.der.clone()],
            middle.server(&[&middle.der, &old_root_crossed]),
        ),
        Case::new("two CAs that certify each other", vec![root.der.clone()], a.server(&[&a_by_b, &b_by_a]))
            .refused(&["certificate signed by unknown authority \"a\""]),
        Case::new(
            "two CAs that certify each other, and a root",
            vec![b.der.clone()],
            a.server(&[&b_by_a, &a_by_b]),
        ),
    ]
}

/// Valid and invalid intermediates, and other certificates that a server sends.
pub fn intermediates() -> Vec<Case> {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth};
    let root = Ca::sound("the root");
    let by = |name, change: fn(&mut CertificateParams)| {
        let middle = root.sub("intermediate", change);
        Case::new(name, vec![root.der.clone()], middle.server(&[&middle.der]))
    };
    let middle = root.sub("intermediate", |_| {});
    let lower = middle.sub("lower", |_| {});
    let odd = resign(&middle.der, &root.key, make_version_1);
    vec![
        by("a sound intermediate", |_| {}),
        by("an intermediate that is not a CA", |p| p.is_ca = IsCa::ExplicitNoCa)
            .refused(&["its issuer \"intermediate\", sent by the server, is not a CA certificate"]),
        by("an expired intermediate", expire)
            .refused(&["its issuer \"intermediate\", sent by the server, expired on Wed, 03 Feb 2021"]),
        by("an intermediate that is not valid yet", begin_late).refused(&[
            "its issuer \"intermediate\", sent by the server, is not valid before Fri, 01 Jan 2100",
        ]),
        by("an intermediate that may not sign certificates", |p| {
            p.key_usages = vec![KeyUsagePurpose::CrlSign];
        })
        .refused(&["its issuer \"intermediate\", sent by the server, is not allowed to sign certificates"]),
        by("an intermediate for clients", |p| p.extended_key_usages = vec![ClientAuth])
            .refused(&["its issuer \"intermediate\", sent by the server, is not meant for servers"]),
        by("an intermediate for anything", |p| p.extended_key_usages = vec![Any]).unlike_openssl(ANY),
        by("an intermediate for another name", |p| p.name_constraints = Some(permit(vec![addresses(10)])))
            .refused(&["its chain has a CA whose name constraints do not allow"]),
        by("an intermediate with an unknown critical extension", |p| {
            p.custom_extensions = vec![unknown_extension(true)];
        })
        .refused(&[
            "its issuer \"intermediate\", sent by the server, has a critical extension",
            "(1.2.3.4.5)",
        ]),
        Case::new("an intermediate of version 1", vec![root.der.clone()], middle.server(&[&odd]))
            .refused(&["its issuer \"intermediate\", sent by the server, is an X.509 version 1 certificate"]),
        Case::new("a missing intermediate", vec![root.der.clone()], middle.server(&[])).refused(&[
            "certificate signed by unknown authority \"intermediate\"",
            "or configure the server to send its intermediate certificates",
        ]),
        Case::new("a missing upper intermediate", vec![root.der.clone()], lower.server(&[&lower.der]))
            .refused(&["certificate signed by unknown authority \"intermediate\""]),
        Case::new("an intermediate in the store", vec![middle.der.clone()], middle.server(&[]))
            .unlike_openssl("it wants a self-signed root"),
        Case::new(
            "intermediates in the wrong order, and the root",
            vec![root.der.clone()],
            lower.server(&[&root.der, &middle.der, &lower.der]),
        ),
        Case::new(
            "nobody knows the root",
            vec![Ca::sound("another").der],
            lower.server(&[&lower.der, &middle.der, &root.der]),
        )
        .refused(&["certificate signed by unknown authority \"the root\""]),
        Case::new("an empty trust store", Vec::new(), root.server(&[]))
            .refused(&["certificate signed by unknown authority \"the root\""]),
        circle(&root),
    ]
}

/// Intermediates of which each may have signed each of the next name: there are millions of paths.
fn circle(root: &Ca) -> Case {
    let corners = ["a", "b", "c"].map(Ca::sound);
    let rims = (0..90).map(|at| {
        let params = ca_params(["a", "b", "c"][at % 3], |_| {});
        params.signed_by(&key(), &corners[(at + 1) % 3].issuer()).expect("a certificate").der().clone()
    });
    let sent: Vec<Der> = rims.chain([root.sub("a", |_| {}).der]).collect();
    Case::new(
        "names in a circle",
        vec![root.der.clone()],
        corners[0].server(&sent.iter().collect::<Vec<_>>()),
    )
    .refused(&["its chain takes too many steps to verify"])
}

/// A server's own certificate in the trust store counts only for itself, as in Go.
pub fn pinned() -> Vec<Case> {
    const PARTIAL: &str = "it wants a root";
    let root = Ca::sound("the root");
    let of = |name, identity: Identity| Case::new(name, vec![identity.certificate.clone()], identity);
    let own = |change: fn(&mut CertificateParams)| {
        let mut params = server_params(&["localhost", "127.0.0.1"]);
        change(&mut params);
        Identity::self_signed(&params)
    };
    let pinned = own(|_| {});
    let reissued = Identity::new(
        resign(&pinned.certificate, &pinned.key, |certificate| {
            certificate.serial_number = x509_cert::serial_number::SerialNumber::from(7_u8);
        }),
        Vec::new(),
        KeyPair::try_from(pinned.key.serialize_der()).expect("a key"),
    );
    vec![
        of("a pinned self-signed certificate", own(|_| {})),
        of("a pinned certificate of a CA", own(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        of("a pinned certificate without its CA", root.server(&[])).unlike_openssl(PARTIAL),
        of("a pinned certificate that expired", own(expire)).refused(&["expired on Wed, 03 Feb 2021"]),
        of("a pinned certificate that is not valid yet", own(begin_late)).refused(&["is not valid before"]),
        of("a pinned certificate for another name", own(|p| p.subject_alt_names.truncate(1)))
            .refused(&["is not valid for 127.0.0.1, only for localhost"]),
        of(
            "a pinned certificate for clients",
            own(|p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
        )
        .refused(&["is not meant for servers"]),
        of("a pinned certificate without names", own(|p| p.subject_alt_names.clear()))
            .refused(&["has no subject alternative name"]),
        Case::new("a certificate by the same key as the pinned one", vec![pinned.certificate], reissued)
            .refused(&["its issuer \"a test server\"", "is not a CA certificate"]),
        Case::new("a self-signed certificate", vec![root.der], own(|_| {}))
            .refused(&["is not trusted: it is self-signed"]),
        renewed("renewed", |_| {}).refused(&["the CA \"the server\", in ", "same name but another key"]),
        renewed("renewed with an RSA key of 1024 bits", |c| c.subject_public_key_info = rsa_key(1024))
            .refused(&["the server's key is too short (RSA with 1024 bits; at least 2048 are required)"]),
        renewed("renewed with a P-521 key", |c| c.subject_public_key_info = p521_key())
            .refused(&["the server's key is of a type that is not supported (EC P-521)"]),
    ]
}

/// The server's own certificate, except its names.
pub fn leaves() -> Vec<Case> {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth};
    let root = Ca::sound("the root");
    let roots = vec![root.der.clone()];
    let by =
        |name, change: fn(&mut CertificateParams)| Case::new(name, roots.clone(), root.leaf(&[], change));
    let odd = |name, change: fn(&mut TbsCertificate)| Case::new(name, roots.clone(), root.odd_leaf(change));
    let Identity { certificate, key, .. } = root.server(&[]);
    let cut = certificate[..certificate.len() - 9].to_vec().into();
    let cut = Identity::new(cut, Vec::new(), key);
    vec![
        by("a server for anything", |p| p.extended_key_usages = vec![Any]).unlike_openssl(ANY),
        by("a server without extended key usage", |p| p.extended_key_usages.clear()),
        by("a server for clients", |p| p.extended_key_usages = vec![ClientAuth])
            .refused(&["(issuer \"the root\") is not meant for servers (extendedKeyUsage lacks serverAuth)"]),
        by("a server that is a CA", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
            .refused(&["is a CA certificate", "CA:FALSE"])
            .unlike_go("it takes a CA for a server")
            .unlike_openssl("it takes a CA for a server"),
        by("an expired server", expire).refused(&["(issuer \"the root\") expired on Wed, 03 Feb 2021"]),
        by("a server from 1900", |p| p.not_before = date_time_ymd(1900, 1, 1))
            .refused(&["has a date that cannot be read (dates before 1970 are not supported)"])
            .unlike_go("it reads the date")
            .unlike_openssl("it reads the date"),
        by("a server that is not valid yet", begin_late).refused(&["is not valid before Fri, 01 Jan 2100"]),
        odd("a server of version 1", make_version_1)
            .refused(&["is an X.509 version 1 certificate, but only version 3 is supported"]),
        odd("a server of version 2", |certificate| {
            make_version_1(certificate);
            certificate.version = Version::V2;
        })
        .refused(&["is an X.509 version 2 certificate"]),
        by("an unknown critical extension", |p| p.custom_extensions = vec![unknown_extension(true)])
            .refused(&["has a critical extension that monitoring-token does not support (1.2.3.4.5)"]),
        by("an unknown extension", |p| p.custom_extensions = vec![unknown_extension(false)]),
        Case::new("a certificate that was cut off", roots.clone(), cut).refused(&["cannot be parsed"]),
    ]
}

/// The names in a server's certificate.
pub fn names() -> Vec<Case> {
    let root = Ca::sound("the root");
    let roots = vec![root.der.clone()];
    let by =
        |name, change: fn(&mut CertificateParams)| Case::new(name, roots.clone(), root.leaf(&[], change));
    let name = |text: &str| SanType::DnsName(text.try_into().expect("ASCII"));
    let address = |text: &str| SanType::IpAddress(text.parse().expect("an address"));
    let named = |case: &'static str, names: Vec<SanType>| {
        Case::new(case, roots.clone(), root.leaf(&[], |p| p.subject_alt_names = names))
    };
    let many = (0..9).map(|number| name(&format!("host{number}.example"))).collect();
    vec![
        by("only a common name", |p| {
            p.subject_alt_names.clear();
            p.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        })
        .refused(&["has no subject alternative name", "subjectAltName=IP:127.0.0.1"]),
        by("only a common name, for a host", |p| {
            p.subject_alt_names.clear();
            p.distinguished_name.push(DnType::CommonName, "localhost");
        })
        .at("localhost")
        .refused(&["has no subject alternative name", "subjectAltName=DNS:localhost"])
        .unlike_openssl("it compares the common name"),
        named("only a mail address", vec![SanType::Rfc822Name("a@b.example".try_into().expect("ASCII"))])
            .refused(&["its subject alternative name has no DNS name or IP address"]),
        named("an address as a DNS name", vec![name("127.0.0.1"), name("localhost")])
            .refused(&["lists 127.0.0.1 as a DNS name, not as an IP address", "subjectAltName=IP:127.0.0.1"]),
        named("a v6 address as a DNS name", vec![name("0:0:0:0:0:0:0:1")])
            .at("[::1]")
            .refused(&["lists ::1 as a DNS name, not as an IP address", "subjectAltName=IP:::1"]),
        named("a v4 address of a host in the form of v6", vec![address("127.0.0.1")])
            .at("[::ffff:127.0.0.1]")
            .unlike_openssl("it compares the bytes"),
        named("a v4 address in the form of v6", vec![address("::ffff:127.0.0.1")])
            .unlike_openssl("it compares the bytes"),
        named("another v4 address of a host in the form of v6", vec![address("127.0.0.2")])
            .at("[::ffff:7f00:1]")
            .refused(&["is not valid for ::ffff:127.0.0.1, only for 127.0.0.2"]),
        named("a v6 address", vec![address("::1")]).refused(&["is not valid for 127.0.0.1, only for ::1"]),
        named("another v6 address", vec![address("2001:db8:0:0:1::1")])
            .at("[::1]")
            .refused(&["is not valid for ::1, only for 2001:db8::1:0:0:1"]),
        named("another address", vec![address("127.0.0.2")])
            .refused(&["is not valid for 127.0.0.1, only for 127.0.0.2"]),
        named("an address where a name is meant", vec![address("127.0.0.1")])
            .at("localhost")
            .refused(&["is not valid for localhost, only for 127.0.0.1"]),
        named("other names", vec![name("other.example"), name("*.example")])
            .at("localhost")
            .refused(&["is not valid for localhost, only for other.example, *.example"]),
        named("a wildcard below a top-level domain", vec![name("*.localhost")])
            .at("x.localhost")
            .unlike_openssl("it wants two labels after the wildcard"),
        named("a wildcard for other names", vec![name("*.localhost")])
            .at("x.y.localhost")
            .refused(&["is not valid for x.y.localhost, only for *.localhost"]),
        named("many names", many)
            .at("localhost")
            .refused(&["only for host0.example, host1.example, host2.example and 6 more"]),
        named("a name that writes to the terminal", vec![name("\u{1b}[31m\nred")])
            .at("localhost")
            .refused(&["is not valid for localhost, only for \"\\u{1b}[31m\\nred\""]),
        named("a name of 10,000 characters", vec![name(&"x".repeat(10_000))])
            .at("localhost")
            .refused(&["xxx…"]),
        Case::new("an issuer with a long name", Vec::new(), Ca::sound(&"y".repeat(5000)).server(&[]))
            .refused(&["unknown authority \"yyy", "yyy…\""]),
        Case::new(
            "an issuer whose name turns text around",
            Vec::new(),
            Ca::sound("a\u{202e}b\nc").server(&[]),
        )
        .refused(&["unknown authority \"a\\u{202e}b\\nc\""]),
    ]
}

/// Keys and signatures that ring does not support.
pub fn algorithms() -> Vec<Case> {
    const WEAK: &str = "it accepts RSA keys from 1024 bits";
    let root = Ca::sound("the root");
    let roots = vec![root.der.clone()];
    let odd = |name, change: fn(&mut TbsCertificate)| Case::new(name, roots.clone(), root.odd_leaf(change));
    let with_root =
        |name, change: fn(&mut TbsCertificate)| Case::new(name, vec![root.odd(change)], root.server(&[]));
    vec![
        odd("a server with an RSA key of 1024 bits", |c| c.subject_public_key_info = rsa_key(1024))
            .refused(&["the server's key is too short (RSA with 1024 bits; at least 2048 are required)"])
            .unlike_go(WEAK)
            .unlike_openssl(WEAK),
        odd("a server with an RSA key of 512 bits", |c| c.subject_public_key_info = rsa_key(512))
            .refused(&["the server's key is too short (RSA with 512 bits"])
            .unlike_go("the key is not looked at before the handshake")
            .unlike_openssl("the key is not looked at before the handshake"),
        odd("a server with an RSA key of 16384 bits", |c| c.subject_public_key_info = rsa_key(16384))
            .refused(&["the server's key is too long (RSA with 16384 bits"])
            .unlike_go("the key is not looked at before the handshake")
            .unlike_openssl("the key is not looked at before the handshake"),
        odd("a server with a P-521 key", |c| c.subject_public_key_info = p521_key())
            .refused(&["the server's key is of a type that is not supported (EC P-521)"]),
        with_root("a root with an RSA key of 1024 bits", |c| c.subject_public_key_info = rsa_key(1024))
            .refused(&["its issuer \"the root\"", "its key is too short (RSA with 1024 bits"]),
        with_root("a root with a P-521 key", |c| c.subject_public_key_info = p521_key())
            .refused(&["its issuer \"the root\"", "of a type that is not supported (EC P-521)"]),
        odd("signed with SHA-512 by a P-256 key", say_sha512)
            .refused(&["is signed with an algorithm that is not supported (ECDSA with SHA-512)"]),
        odd("signed with SHA-1", |c| c.signature.oid = "1.2.840.10045.4.1".parse().expect("an OID"))
            .refused(&["is signed with an algorithm that is not supported (ECDSA with SHA-1)"]),
        odd("signed with MD5", |c| c.signature.oid = "1.2.840.113549.1.1.4".parse().expect("an OID"))
            .refused(&["is signed with an algorithm that is not supported (MD5 with RSA)"]),
        odd("signed with an unknown algorithm", |c| c.signature.oid = "1.2.3.4".parse().expect("an OID"))
            .refused(&["is signed with an algorithm that is not supported (1.2.3.4)"]),
    ]
}
