import Foundation
import SwanMedia
import Testing

@Suite struct DigestTests {
    private let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    @Test func hashesIncrementally() throws {
        let whole = try FileDigest.sha256 { add in Array("abc".utf8).withUnsafeBytes(add) }
        let pieces = try FileDigest.sha256 { add in
            for letter in "abc".utf8 { [letter].withUnsafeBytes(add) }
            add(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        #expect(whole == abc && pieces == abc)
    }

    @Test func rethrowsErrors() {
        #expect(throws: CancellationError.self) {
            try FileDigest.sha256 { _ in throw CancellationError() }
        }
    }
}
