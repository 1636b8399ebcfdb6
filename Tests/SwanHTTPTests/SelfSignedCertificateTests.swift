import Foundation
import NIOSSL
import SwiftASN1
import Testing
import X509

@testable import SwanHTTP

@Suite struct SelfSignedCertificateTests {
    @Test func certificatesNameTheirHosts() throws {
        let hosts = ["swan.example", "192.168.1.5", "0.0.0.0", "localhost"].compactMap {
            Authority(host: $0)
        }
        let own = try SelfSignedCertificate(hosts: hosts)
        let certificate = try Certificate(derEncoded: try own.certificate.toDERBytes())
        let names = try #require(try certificate.extensions.subjectAlternativeNames)
        #expect(names.count == 5)
        #expect(names.contains(.dnsName("localhost")))
        #expect(names.contains(.dnsName("swan.example")))
        #expect(certificate.notValidBefore < Date.now)
        #expect(certificate.notValidAfter > Date.now.addingTimeInterval(300 * 86_400))
        #expect(certificate.issuer == certificate.subject)
    }

    @Test func fingerprintsAreTheirs() throws {
        let own = try SelfSignedCertificate()
        #expect(own.fingerprint.split(separator: ":").count == 32)
        #expect(own.fingerprint != (try SelfSignedCertificate()).fingerprint)
        #expect(throws: Never.self) { try TLSIdentity.selfSigned(own).context() }
    }
}
