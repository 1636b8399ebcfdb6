import NIOSSL
import SwanSystem

/// The certificate with which a server proves who it is.
package enum TLSIdentity: Sendable {
    /// PEM files: a certificate, followed by those of its issuers, and the private key.
    case files(certificate: String, privateKey: String)
    /// A certificate made by this program.
    case selfSigned(SelfSignedCertificate)
    /// PEM files that may change while the server runs.
    case reloadable(ReloadableCertificate)

    /// Returns the settings for each new connection.
    func source() throws(SwanError) -> @Sendable () -> NIOSSLContext {
        if case .reloadable(let certificate) = self { return { certificate.context } }
        let context = try context()
        return { context }
    }

    /// The settings for TLS 1.2 and later.
    func context() throws(SwanError) -> NIOSSLContext {
        let (chain, key): ([NIOSSLCertificate], NIOSSLPrivateKey)
        switch self {
        case .reloadable(let certificate): return certificate.context
        case .selfSigned(let own): (chain, key) = ([own.certificate], own.privateKey)
        case .files(let certificate, let privateKey):
            chain = try Self.read(certificate, "certificate") {
                try NIOSSLCertificate.fromPEMBytes($0)
            }
            key = try Self.read(privateKey, "private key") {
                try NIOSSLPrivateKey(bytes: $0, format: .pem)
            }
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(key)
        )
        configuration.minimumTLSVersion = .tlsv12
        // WebSockets over HTTP/2 are not supported.
        configuration.applicationProtocols = ["http/1.1"]
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw SwanError(
                .invalidConfiguration,
                "the private key does not belong to the certificate; "
                    + "give the two files of one certificate, or let --tls auto make one",
                cause: error
            )
        }
    }

    private static func read<Value>(
        _ path: String,
        _ kind: String,
        _ parse: ([UInt8]) throws -> Value
    ) throws(SwanError) -> Value {
        let bytes = [UInt8](try SmallFile.data(path))
        do {
            return try parse(bytes)
        } catch {
            throw SwanError(
                .invalidConfiguration,
                "\(path): contains no \(kind) in PEM format; openssl converts other formats",
                cause: error
            )
        }
    }
}
