import NIOSSL
package import SwanSystem
import Synchronization

/// A certificate in files that can be replaced while the server runs: new connections get the new one.
package final class ReloadableCertificate: Sendable {
    private let certificate: String
    private let privateKey: String
    private let current: Mutex<NIOSSLContext>

    /// Reads PEM files: a certificate, followed by those of its issuers, and the private key.
    package init(certificate: String, privateKey: String) throws(SwanError) {
        self.certificate = certificate
        self.privateKey = privateKey
        let identity = TLSIdentity.files(certificate: certificate, privateKey: privateKey)
        current = Mutex(try identity.context())
    }

    /// Reads the files again. If they cannot be used, the certificate stays as it was.
    package func reload() throws(SwanError) {
        let identity = TLSIdentity.files(certificate: certificate, privateKey: privateKey)
        let new = try identity.context()
        current.withLock { $0 = new }
    }

    /// The settings for the next connection.
    var context: NIOSSLContext { current.withLock { $0 } }
}
