package app

// The images hold nothing but a binary: where the system has no certificate authorities, those
// of the Mozilla CA program are used. SSL_CERT_FILE names others.
import _ "golang.org/x/crypto/x509roots/fallback"
