import HTTPTypes
import NIOCore
import Testing

@testable import SwanHTTP

@Suite struct MultipartParserTests {
    private static let boundary = "x-y"

    private func body(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func part(_ name: String, _ value: String, file: String? = nil) -> String {
        let extra = file.map { "; filename=\"\($0)\"" } ?? ""
        return
            "--x-y\r\nContent-Disposition: form-data; name=\"\(name)\"\(extra)\r\n\r\n\(value)\r\n"
    }

    /// The parts of a body that arrives in pieces, with their contents.
    private func parts(
        _ bytes: [UInt8],
        pieces: Int,
        _ limits: MultipartLimits = MultipartLimits()
    ) throws(APIError) -> [(part: MultipartPart, value: [UInt8])] {
        var parser = MultipartParser(boundary: Self.boundary, limits: limits)
        var found: [(MultipartPart, [UInt8])] = []
        var ended = 0
        var start = 0
        while start < bytes.count {
            let end = min(start + pieces, bytes.count)
            for event in try parser.feed(bytes[start..<end]) {
                switch event {
                case .part(let part): found.append((part, []))
                case .data(let bytes): found[found.count - 1].1 += bytes
                case .endOfPart: ended += 1
                }
            }
            start = end
        }
        try parser.finish()
        #expect(ended == found.count)
        return found
    }

    private func code(_ text: String, _ limits: MultipartLimits = MultipartLimits()) -> String? {
        do {
            _ = try parts(body(text), pieces: text.utf8.count, limits)
            return nil
        } catch {
            return error.code
        }
    }

    @Test(arguments: 1...60) func boundariesMayBeSplitAnywhere(pieces: Int) throws {
        // Contents that look like the beginning of a boundary.
        let data = "\r\n--x-\r\r\n--x-z\r\n--"
        let text =
            part("prompt", "sepia") + part("file", data, file: "a.mp4") + part("empty", "")
            + "--x-y--\r\n"
        let found = try parts(body(text), pieces: pieces)
        #expect(found.map(\.part.name) == ["prompt", "file", "empty"])
        #expect(found.map(\.part.isFile) == [false, true, false])
        #expect(found.map { String(decoding: $0.value, as: UTF8.self) } == ["sepia", data, ""])
    }

    @Test func binaryContentsAreKept() throws {
        let bytes = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let head = body("--x-y\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n")
        let found = try parts(head + bytes + body("\r\n--x-y--"), pieces: 4_096)
        #expect(found.map(\.value) == [bytes])
    }

    @Test func preambleAndEpilogueAreIgnored() throws {
        let text = "hello\r\n" + part("a", "1") + "--x-y--\r\nmore --x-y\r\n\r\n"
        #expect(try parts(body(text), pieces: 3).map(\.part.name) == ["a"])
    }

    @Test(arguments: [
        "", "--x-y\r\n", "hello", "--x-y", "--x-z--",
        "--x-y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--x-y\r",
        "--x-y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--x-yz",
    ]) func incompleteForms(text: String) {
        #expect(code(text) == "malformed_form")
    }

    @Test(arguments: [
        "X: y", "Content-Disposition: form-data", "Content-Disposition: form-data; name=\"\"",
        "Content-Disposition: attachment; name=a", "Content-Disposition: form-data; name=\"a",
        "Content-Disposition: form-data; name=a; name=b", "Content-Disposition form-data; name=a",
        "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
        "Content-Disposition: form-data; name=a\nX-Injected: b",
        "Content-Disposition: form-data; name=a\rX: b",
        "Content-Disposition: form-data; name=a\u{0}",
        " Content-Disposition: form-data; name=a",
        "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64",
    ]) func wrongHeaders(header: String) {
        #expect(code("--x-y\r\n\(header)\r\n\r\nvalue\r\n--x-y--") == "malformed_form")
    }

    @Test func quotedNames() throws {
        let text =
            "--x-y\r\ncontent-disposition: form-data; name=\"a\\\"b;c\" ; filename*=utf-8''x\r\n\r\n\r\n--x-y--"
        let found = try parts(body(text), pieces: 5)
        #expect(found.first?.part.name == "a\"b;c")
        #expect(found.first?.part.isFile == true)
    }

    @Test func limits() {
        var limits = MultipartLimits()
        limits.parts = 2
        #expect(code(part("a", "") + part("b", "") + "--x-y--", limits) == nil)
        #expect(
            code(part("a", "") + part("b", "") + part("c", "") + "--x-y--", limits)
                == "form_too_large"
        )
        limits.headerBytes = 100
        let long = String(repeating: "x", count: 200)
        #expect(code(part(long, "") + "--x-y--", limits) == "form_too_large")
        #expect(code("--x-y\r\nContent-Disposition: \(long)", limits) == "form_too_large")
        #expect(code(long + "--x-y--", limits) == "malformed_form")
    }

    @Test(arguments: [
        ("multipart/form-data; boundary=a", "a"), ("multipart/form-data;boundary=\"a b\"", "a b"),
        ("Multipart/Form-Data; charset=utf-8; Boundary=x'()+_,-./:=?", "x'()+_,-./:=?"),
    ]) func validBoundaries(type: String, boundary: String) {
        #expect(MultipartParser.boundary(of: type) == boundary)
    }

    @Test(arguments: [
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a",
        "multipart/form-data; boundary=a\r\nb", "multipart/form-data; boundary=\u{e9}",
        "multipart/form-data; boundary=" + String(repeating: "a", count: 71),
    ]) func invalidBoundaries(type: String) {
        #expect(MultipartParser.boundary(of: type) == nil)
    }
}
