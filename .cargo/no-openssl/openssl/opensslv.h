/* The version whose interface the openssl crate is compiled against; see .cargo/config.toml. */
#define OPENSSL_VERSION_MAJOR 3
#define OPENSSL_VERSION_MINOR 0
#define OPENSSL_VERSION_PATCH 0
