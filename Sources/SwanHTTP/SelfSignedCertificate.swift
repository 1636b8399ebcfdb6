import Crypto
import Foundation
import NIOSSL
package import SwanSystem
import SwiftASN1
import X509

/// A certificate that no authority vouches for, so that browsers offer the camera to pages from this machine.
///
/// Users compare the fingerprint that the browser shows with the one that the server prints.
package struct SelfSignedCertificate: Sendable {
    /// The SHA-256 fingerprint of the certificate, in pairs of hexadecimal digits.
    package let fingerprint: String
    let certificate: NIOSSLCertificate
    let privateKey: NIOSSLPrivateKey

    /// Creates a key and a certificate for `localhost`, the loopback addresses, and further names and addresses.
    package init(hosts: [Authority] = []) throws(SwanError) {
        do {
            let key = P256.Signing.PrivateKey()
            let bytes = try Self.certificate(for: Self.names(hosts), key: key)
            fingerprint = Self.fingerprint(bytes)
            certificate = try NIOSSLCertificate(bytes: bytes, format: .der)
            privateKey = try NIOSSLPrivateKey(bytes: Array(key.derRepresentation), format: .der)
        } catch {
            throw SwanError(.libraryFailed, "cannot create a certificate: \(error)", cause: error)
        }
    }

    private static func names(_ hosts: [Authority]) -> [GeneralName] {
        let local = ["localhost", "127.0.0.1", "::1"].compactMap { Authority(host: $0) }
        var seen: Set<String> = []
        return (local + hosts).filter { !$0.isWildcard && seen.insert($0.host).inserted }.map {
            guard let bytes = $0.addressBytes else { return .dnsName($0.host) }
            return .ipAddress(ASN1OctetString(contentBytes: bytes[...]))
        }
    }

    private static func certificate(
        for names: [GeneralName],
        key: P256.Signing.PrivateKey
    ) throws -> [UInt8] {
        let name = try DistinguishedName { CommonName("swan") }
        let day: TimeInterval = 86_400
        let certificate = try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(),
            publicKey: Certificate.PublicKey(key.publicKey),
            // Clocks differ, and browsers refuse certificates that are valid for more than 398 days.
            notValidBefore: Date.now.addingTimeInterval(-day),
            notValidAfter: Date.now.addingTimeInterval(396 * day),
            issuer: name,
            subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names)
            },
            issuerPrivateKey: Certificate.PrivateKey(key)
        )
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }

    private static func fingerprint(_ bytes: [UInt8]) -> String {
        SHA256.hash(data: bytes).map { String(format: "%02X", $0) }.joined(separator: ":")
    }
}

extension Authority {
    /// The bytes of an IP address in network order; nil for names.
    fileprivate var addressBytes: [UInt8]? {
        let isVersion6 = host.contains(":")
        var bytes = [UInt8](repeating: 0, count: isVersion6 ? 16 : 4)
        return inet_pton(isVersion6 ? AF_INET6 : AF_INET, host, &bytes) == 1 ? bytes : nil
    }
}
