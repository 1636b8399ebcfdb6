import Foundation
import GoldenSupport
import Testing
import Torch
import SwanSystem

/// Malformed files, each built byte by byte.
@Suite struct BadSafetensorsTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        /// The expected part of the error message; alternatives are separated by `|`.
        let says: String

        init(_ name: String, _ bytes: [UInt8], _ says: String) {
            testDescription = name
            self.bytes = bytes
            self.says = says
        }

        init(_ name: String, tensors: String, _ count: Int, _ says: String) {
            self.init(name, container(tensors, Array(repeating: 0, count: count)), says)
        }
    }

    static let cases: [Case] = [
        Case("empty", [], "is empty"),
        Case("too short", [1, 2, 3], "too short"),
        Case("header of 2^63", container("{}", [], length: 1 << 63), "9223372036854775808 bytes"),
        Case(
            "header past the end",
            container("{}", [], length: 3),
            "is cut short: its header describes 11"
        ),
        Case("header of 2^64 - 1", container("{}", [], length: .max), "18446744073709551615"),
        Case("no header", container("", []), "not a JSON object"),
        Case("not JSON", container("{hello}", []), "damaged at byte 1"),
        Case("cut JSON", container(#"{"a":"#, []), "ends too early"),
        Case("text behind", container("{}{}", []), "text after the end"),
        Case("array", container("[]", []), "not a JSON object"),
        Case("not UTF-8", container("{\"", []) + [0xFF], "belongs to no tensor|unterminated"),
        Case(
            "deep",
            container("{\"a\":" + String(repeating: "[", count: 100_000), []),
            "nested too deep"
        ),
        Case(
            "duplicate key",
            tensors: """
                {"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},\
                "t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}
                """,
            4,
            #"the key "t" occurs twice"#
        ),
        Case(
            "duplicate key by another spelling",
            tensors: """
                {"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},\
                "\\u0074":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}
                """,
            4,
            #"the key "t" occurs twice"#
        ),
        Case(
            "duplicate field",
            tensors: #"{"t":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}"#,
            4,
            #"the key "dtype" occurs twice"#
        ),
        Case(
            "unknown dtype",
            tensors: #"{"t":{"dtype":"F99","shape":[4],"data_offsets":[0,4]}}"#,
            4,
            "tensor t has the unknown dtype F99"
        ),
        Case(
            "no dtype",
            tensors: #"{"t":{"shape":[4],"data_offsets":[0,4]}}"#,
            4,
            "t has no dtype"
        ),
        Case("no object", tensors: #"{"t":7}"#, 0, "tensor t is not described"),
        Case(
            "negative size",
            tensors: #"{"t":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}}"#,
            4,
            "tensor t has no shape"
        ),
        Case(
            "broken size",
            tensors: #"{"t":{"dtype":"U8","shape":[4.5],"data_offsets":[0,4]}}"#,
            4,
            "tensor t has no shape"
        ),
        Case(
            "size of 2^64",
            tensors: """
                {"t":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,4]}}
                """,
            4,
            "tensor t has no shape"
        ),
        Case(
            "product past 2^63",
            tensors: """
                {"t":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}
                """,
            4,
            "larger than can be represented"
        ),
        Case(
            "a product past 2^63 beside a 0",
            tensors: """
                {"t":{"dtype":"F32","shape":[0,4611686018427387904,4611686018427387904],\
                "data_offsets":[0,0]}}
                """,
            0,
            "tensor t has the shape [0, 4611686018427387904, 4611686018427387904], whose size is larger"
        ),
        Case(
            "a product past 2^63 before a 0",
            tensors: """
                {"t":{"dtype":"U8","shape":[9223372036854775807,2,0],"data_offsets":[0,0]}}
                """,
            0,
            "larger than can be represented"
        ),
        Case(
            "65 dimensions",
            tensors: """
                {"t":{"dtype":"U8","shape":[\(Array(repeating: "1", count: 65).joined(separator: ","))],\
                "data_offsets":[0,1]}}
                """,
            1,
            "at most 64 are supported"
        ),
        Case(
            "a name of a megabyte",
            tensors: """
                {"\(String(repeating: "model.", count: 200_000))":\
                {"dtype":"U8","shape":[0],"data_offsets":[0,0]}}
                """,
            0,
            "longer than 2000 bytes"
        ),
        Case(
            "a hundred thousand numbers",
            tensors: "{\"t\":[\(String(repeating: "0,", count: 100_000))0]}",
            0,
            "more values than allowed"
        ),
        Case(
            "metadata twice",
            container(#"{"__metadata__":{},"__metadata__":{}}"#, []),
            "occurs twice"
        ),
        Case(
            "one offset",
            tensors: #"{"t":{"dtype":"U8","shape":[4],"data_offsets":[0]}}"#,
            4,
            "no pair of integers as data_offsets"
        ),
        Case(
            "reversed offsets",
            tensors: #"{"t":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#,
            4,
            "tensor t has the data_offsets [4, 0]"
        ),
        Case(
            "negative offset",
            tensors: #"{"t":{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}}"#,
            4,
            "tensor t has the data_offsets [-4, 0]"
        ),
        Case(
            "offset past the end",
            tensors: #"{"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#,
            4,
            "is cut short: its header describes"
        ),
        Case(
            "shape and bytes",
            tensors: #"{"t":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}"#,
            8,
            "tensor t of shape [4] and dtype F32 does not match the 8 bytes"
        ),
        Case(
            "overlap",
            tensors: """
                {"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},\
                "b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}
                """,
            6,
            "the tensors a and b overlap"
        ),
        Case(
            "hole",
            tensors: """
                {"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},\
                "b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}}
                """,
            6,
            "the tensors a and b leave a hole"
        ),
        Case(
            "bytes after",
            tensors: #"{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
            6,
            "belongs to no tensor"
        ),
        Case("metadata of numbers", container(#"{"__metadata__":{"a":1}}"#, []), "a is not text"),
        Case("metadata of text", container(#"{"__metadata__":"a"}"#, []), "is not an object"),
    ]

    @Test(arguments: cases) func isRefused(_ bad: Case) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.file("bad.safetensors", bad.bytes)
        let error = try #require(failure { _ = try SafetensorsFile(path: path) } as? SwanError)
        #expect(error.code == .invalidFile)
        #expect(error.message.hasPrefix("\(path): "))
        #expect(bad.says.split(separator: "|").contains { error.message.contains($0) }, "\(error)")
    }

    @Test func refusesEveryTruncation() throws {
        let directory = try TemporaryDirectory()
        let whole = container(
            #"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            Array(repeating: 0, count: 8)
        )
        for count in 0..<whole.count {
            let path = try directory.file("cut.safetensors", Array(whole.prefix(count)))
            let error = failure { _ = try SafetensorsFile(path: path) } as? SwanError
            #expect(error?.code == .invalidFile, "\(count) bytes of \(whole.count)")
        }
    }

    @Test func flippedBitsNeverTrap() throws {
        let directory = try TemporaryDirectory()
        let header = #"{"t":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"__metadata__":{}}"#
        let whole = container(header, Array(repeating: 1, count: 8))
        for bit in 0..<(whole.count * 8) {
            var bytes = whole
            bytes[bit / 8] ^= 1 << (bit % 8)
            let path = try directory.file("turned.safetensors", bytes)
            let error = failure {
                let file = try SafetensorsFile(path: path)
                for key in file.keys { _ = try file.tensor(key).sum().item() }
            }
            #expect(error == nil || error is SwanError)
        }
    }

    @Test func reportsPathsThatAreNotRegularFiles() throws {
        let directory = try TemporaryDirectory()
        let missing = directory.path("missing.safetensors")
        let error = failure { _ = try SafetensorsFile(path: missing) } as? SwanError
        #expect(error?.code == .noSuchFile)
        #expect(error?.message == "\(missing): cannot be read: No such file or directory")
        #expect(mkfifo(directory.path("pipe"), 0o600) == 0)
        for path in [directory.path("pipe"), "/dev/zero", "/dev/null"] {
            let error = failure { _ = try SafetensorsFile(path: path) } as? SwanError
            #expect(error == SwanError(.invalidFile, "\(path): is not a regular file"))
        }
        let folder = failure { _ = try SafetensorsFile(path: directory.url.path) } as? SwanError
        #expect(folder?.code == .invalidFile)
        #expect(folder?.message.hasSuffix("is a directory") == true)
    }
}
