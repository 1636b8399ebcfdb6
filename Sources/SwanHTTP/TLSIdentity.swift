import NIOSSL
import SwanSystem

/// The certificate with which a server proves who it is.
package enum TLSIdentity: Sendable {
    /// PEM files: a certificate, followed by those of its issuers, and the private key.
    case files(certificate: String, privateKey: String)
    /// A certificate made by this program.
    case selfSigned(SelfSignedCertificate)

    /// The settings for TLS 1.2 and later.
    func configuration() throws(SwanError) -> TLSConfiguration {
        let (chain, key) = try chainAndKey()
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(key)
        )
        configuration.minimumTLSVersion = .tlsv12
        // WebSockets over HTTP/2 are not supported.
        configuration.applicationProtocols = ["http/1.1"]
        do {
            _ = try NIOSSLContext(configuration: configuration)
        } catch {
            throw SwanError(
                .invalidConfiguration,
                "the private key does not belong to the certificate",
                cause: error
            )
        }
        return configuration
    }

    private func chainAndKey() throws(SwanError) -> ([NIOSSLCertificate], NIOSSLPrivateKey) {
        switch self {
        case .selfSigned(let own):
            return ([own.certificate], own.privateKey)
        case .files(let certificate, let privateKey):
            let chain = try Self.read(certificate, "certificate") {
                try NIOSSLCertificate.fromPEMBytes($0)
            }
            let key = try Self.read(privateKey, "private key") {
                try NIOSSLPrivateKey(bytes: $0, format: .pem)
            }
            return (chain, key)
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
                "\(path): contains no \(kind) in PEM format",
                cause: error
            )
        }
    }
}
