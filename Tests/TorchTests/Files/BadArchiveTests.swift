import Foundation
import GoldenSupport
import Testing
import Torch
import SwanSystem

/// Malformed and malicious checkpoints, each built byte by byte.
@Suite struct BadArchiveTests {
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

        init(_ name: String, pickle: [UInt8], _ says: String) {
            let zip = ZipBuilder.checkpoint(pickle, ["0": Array(repeating: 0, count: 16)])
            self.init(name, zip.bytes, says)
        }

        /// A checkpoint with one tensor, whose storage file is modified.
        init(_ name: String, storage change: (inout ZipBuilder.File) -> Void, _ says: String) {
            var zip = BadArchiveTests.sound
            change(&zip.files[1])
            self.init(name, zip.bytes, says)
        }
    }

    static let sound = ZipBuilder.checkpoint(
        Pickle.dictionary(Pickle.tensor(count: 4, shape: [4], strides: [1])),
        ["0": Array(repeating: 0, count: 16)]
    )

    static let archives: [Case] = [
        Case("text", Array("this is no archive".utf8), "is a text, not weights"),
        Case("magic only", [0x50, 0x4B, 3, 4], "is cut short"),
        Case("no files", Array([0x50, 0x4B, 3, 4]) + ZipBuilder(start: 4).bytes, "no data.pkl"),
        Case(
            "another zip",
            ZipBuilder(files: [.init(name: "a/b.txt", data: [1])]).bytes,
            "no data.pkl"
        ),
        Case(
            "a TorchScript program",
            ZipBuilder(files: [
                .init(name: "a/data.pkl", data: [1]), .init(name: "a/constants.pkl", data: [1]),
            ]).bytes,
            "TorchScript"
        ),
        Case(
            "compressed",
            storage: { $0.method = 8 },
            "archive/data/0 in the archive is compressed"
        ),
        Case("encrypted", storage: { $0.flags = 1 }, "is encrypted"),
        Case("bomb", storage: { $0.size = 0xFFFF_FFF0 }, "claims 4294967280 bytes"),
        Case(
            "wide bomb",
            storage: { ($0.size, $0.isWide) = (1 << 62, true) },
            "claims 4611686018427387904 bytes"
        ),
        Case(
            "bomb of 2^64 - 1",
            storage: { ($0.size, $0.isWide) = (.max, true) },
            "claims 18446744073709551615 bytes"
        ),
        Case(
            "packed smaller",
            storage: { ($0.size, $0.packed) = (16, 8) },
            "claims 16 bytes"
        ),
        Case("past the end", storage: { $0.size = 400 }, "extends beyond|claims 400"),
        Case(
            "overlap",
            storage: { $0.size = 60 },
            "extends beyond|overlap|claims 4 elements"
        ),
        Case("offset past the end", storage: { $0.offset = 1 << 30 }, "truncated or damaged"),
        Case(
            "offset past 2^63",
            storage: { ($0.offset, $0.isWide) = (.max, true) },
            "claims|damaged"
        ),
        Case("twice", storage: { $0.name = "archive/data.pkl" }, "is in the archive twice"),
        Case(
            "all in one place",
            { () -> [UInt8] in
                var zip = sound
                zip.files.append(.init(name: "archive/data/1", data: [], size: 16, offset: 0))
                return zip.bytes
            }(),
            "overlap in the archive"
        ),
        Case(
            "more entries than there are",
            { () -> [UInt8] in
                var zip = sound
                zip.count = 60_000
                return zip.bytes
            }(),
            "directory is truncated or damaged"
        ),
        Case(
            "big-endian",
            { () -> [UInt8] in
                var zip = sound
                zip.files.append(.init(name: "archive/byteorder", data: Array("big".utf8)))
                return zip.bytes
            }(),
            "big-endian"
        ),
    ]

    static let pickles: [Case] = [
        Case("empty pickle", pickle: [], "byte 0: ends too early"),
        Case("nothing on the stack", pickle: Pickle.of([]), "pops more from the stack"),
        Case("protocol 9", pickle: [0x80, 9, 0x4E, 0x2E], "pickle protocol 9"),
        Case(
            "os.system",
            pickle: Pickle.of(
                Pickle.global("os", "system") + Pickle.tuple(Pickle.text("true")) + Array("R".utf8)
            ),
            "byte 2: refers to Python's os.system"
        ),
        Case(
            "builtins.eval",
            pickle: [0x80, 4, 0x8C, 8] + Array("builtins".utf8) + [0x8C, 4]
                + Array("eval".utf8) + [0x93, 0x2E],
            "byte 18: refers to Python's builtins.eval"
        ),
        Case(
            "torch.load",
            pickle: Pickle.of(Pickle.global("torch", "load")),
            "refers to Python's torch.load"
        ),
        Case("NEWOBJ", pickle: Pickle.of([0x29, 0x29, 0x81]), "operation 0x81"),
        Case("INST", pickle: Pickle.of(Array("(ios\nsystem\n".utf8)), "operation 0x69"),
        Case("call of text", pickle: Pickle.of(Pickle.text("a") + Array(")R".utf8)), "unnamed"),
        Case(
            "attributes of a tensor",
            pickle: Pickle.of(
                Pickle.tensor(count: 4, shape: [4], strides: [1]) + Array("}b".utf8)
            ),
            "attributes of something that is not a dictionary"
        ),
        Case("text of 4 GB", pickle: [0x80, 2, 0x58, 255, 255, 255, 255, 65], "ends too early"),
        Case(
            "text of 2^64",
            pickle: [0x80, 4, 0x8D] + Array(repeating: 255, count: 8),
            "ends too early"
        ),
        Case("recall of nothing", pickle: Pickle.of([0x68, 7]), "refers to memo 7"),
        Case("end without a mark", pickle: Pickle.of(Array("Nt".utf8)), "no mark"),
        Case("pop past a mark", pickle: Pickle.of(Array("N(0".utf8)), "pops more from the stack"),
        Case(
            "a list in itself",
            pickle: Pickle.of(Array("]q\u{0}h\u{0}a".utf8)),
            "contains itself"
        ),
        Case(
            "a hundred thousand lists",
            pickle: Pickle.of(
                Array(repeating: UInt8(ascii: "]"), count: 100_000)
                    + Array(repeating: UInt8(ascii: "a"), count: 99_999)
            ),
            "nested too deep"
        ),
        Case(
            "a hundred thousand tuples",
            pickle: Pickle.of([0x29] + Array(repeating: 0x85, count: 100_000)),
            "nested too deep"
        ),
        Case(
            "a key without a value",
            pickle: Pickle.of(Array("}(".utf8) + Pickle.text("a") + Array("u".utf8)),
            "adds to something that is not a dictionary"
        ),
        Case(
            "a key twice",
            pickle: Pickle.of(
                Array("}(".utf8) + Pickle.text("a") + Array("N".utf8) + Pickle.text("a")
                    + Array("Nu".utf8)
            ),
            "the key a twice"
        ),
        Case(
            "a key of lists",
            pickle: Pickle.of(Array("}]Ns".utf8)),
            "a key that is neither text nor a number"
        ),
        Case("no UTF-8", pickle: [0x80, 2, 0x58, 1, 0, 0, 0, 0xFF, 0x2E], "not UTF-8"),
    ]

    static let tensors: [Case] = [
        Case(
            "no such storage",
            pickle: Pickle.of(Pickle.tensor(storage: "9", count: 4, shape: [4], strides: [1])),
            "the storage 9 is not in the archive"
        ),
        Case(
            "a storage elsewhere",
            pickle: Pickle.of(
                Pickle.tensor(storage: "../data.pkl", count: 4, shape: [4], strides: [1])
            ),
            "the storage ../data.pkl is not in the archive"
        ),
        Case(
            "too small a storage",
            pickle: Pickle.of(Pickle.tensor(count: 5, shape: [4], strides: [1])),
            "claims 5 elements of float32, and has 16 bytes"
        ),
        Case(
            "2^62 elements",
            pickle: Pickle.of(Pickle.tensor(count: 1 << 62, shape: [4], strides: [1])),
            "claims 4611686018427387904 elements"
        ),
        Case(
            "negative count",
            pickle: Pickle.of(Pickle.tensor(count: -4, shape: [4], strides: [1])),
            "claims -4 elements"
        ),
        Case(
            "too many elements",
            pickle: Pickle.of(Pickle.tensor(count: 4, shape: [5], strides: [1])),
            "does not lie inside its storage of 4 elements"
        ),
        Case(
            "too far by strides",
            pickle: Pickle.of(Pickle.tensor(count: 4, shape: [2, 2], strides: [3, 1])),
            "does not lie inside"
        ),
        Case(
            "too far by offset",
            pickle: Pickle.of(Pickle.tensor(count: 4, offset: 1, shape: [4], strides: [1])),
            "does not lie inside"
        ),
        Case(
            "negative offset",
            pickle: Pickle.of(Pickle.tensor(count: 4, offset: -1, shape: [4], strides: [1])),
            "does not lie inside"
        ),
        Case(
            "negative stride",
            pickle: Pickle.of(Pickle.tensor(count: 4, shape: [4], strides: [-1])),
            "does not lie inside"
        ),
        Case(
            "negative size",
            pickle: Pickle.of(Pickle.tensor(count: 4, shape: [-4], strides: [1])),
            "does not lie inside"
        ),
        Case(
            "a product past 2^63",
            pickle: Pickle.of(
                Pickle.tensor(count: 4, shape: [1 << 40, 1 << 40], strides: [0, 0])
            ),
            "does not lie inside"
        ),
        Case(
            "a stride past 2^63",
            pickle: Pickle.of(
                Pickle.tensor(count: 4, offset: 3, shape: [2, 2], strides: [.max, .max])
            ),
            "does not lie inside"
        ),
        Case(
            "one element without end",
            pickle: Pickle.dictionary(Pickle.tensor(count: 4, shape: [1 << 40], strides: [0])),
            "tensors that share elements"
        ),
        Case(
            "one row without end",
            pickle: Pickle.dictionary(
                Pickle.tensor(count: 4, shape: [1 << 20, 4], strides: [0, 1])
            ),
            "strides [0, 1]"
        ),
        Case(
            "every window of two",
            pickle: Pickle.dictionary(
                Pickle.tensor(
                    count: 4,
                    shape: Array(repeating: 2, count: 20),
                    strides: Array(repeating: 0, count: 19) + [1]
                )
            ),
            "tensors that share elements"
        ),
        Case(
            "one tensor under many keys",
            ZipBuilder.checkpoint(
                Pickle.of(
                    Array("}(".utf8) + Pickle.text("w")
                        + Pickle.tensor(count: 1_024, shape: [1_024], strides: [1])
                        + Array("q\u{0}".utf8)
                        + (0..<1_000).flatMap { Pickle.text("w\($0)") + [0x68, 0] }
                        + Array("u".utf8)
                ),
                ["0": Array(repeating: 0, count: 4_096)]
            ).bytes,
            "tensors that share elements"
        ),
        Case(
            "0 beside a product past 2^63",
            pickle: Pickle.dictionary(
                Pickle.tensor(count: 4, shape: [0, 1 << 62, 1 << 62], strides: [0, 0, 0])
            ),
            "a tensor (w) of shape [0, 4611686018427387904, 4611686018427387904]"
        ),
        Case(
            "65 dimensions",
            pickle: Pickle.dictionary(
                Pickle.tensor(
                    count: 4,
                    shape: Array(repeating: 1, count: 65),
                    strides: Array(repeating: 1, count: 65)
                )
            ),
            "offset, shape and strides are damaged"
        ),
        Case(
            "more sizes than strides",
            pickle: Pickle.of(Pickle.tensor(count: 4, shape: [2, 2], strides: [1])),
            "does not lie inside"
        ),
        Case(
            "an unknown storage",
            pickle: Pickle.of(
                Pickle.tensor(count: 4, shape: [4], strides: [1], type: "QInt8Storage")
            ),
            "refers to Python's torch.QInt8Storage"
        ),
    ]

    @Test(arguments: archives + pickles + tensors) func isRefused(_ bad: Case) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.file("bad.pth", bad.bytes)
        let error = try #require(failure { _ = try TorchArchive(path: path) } as? SwanError)
        #expect(error.code == .invalidFile)
        #expect(error.message.hasPrefix("\(path): "))
        #expect(bad.says.split(separator: "|").contains { error.message.contains($0) }, "\(error)")
    }

    /// Each byte expands to 16 to 400 bytes in memory.
    @Test(arguments: [
        ("lists", "]"), ("dictionaries", "}"), ("tuples of one", "N\u{85}"),
        // Memoizes one item repeatedly, under a new number each time.
        ("numbers of an item", "\u{94}"),
    ]) func refusesTooManyParts(_ name: String, _ part: String) throws {
        let bytes = part.unicodeScalars.map { UInt8($0.value) }
        var pickle = Array("(N".utf8)
        for _ in 0..<1_500_000 { pickle += bytes }
        let directory = try TemporaryDirectory()
        let zip = ZipBuilder.checkpoint(Pickle.of(pickle))
        let path = try directory.file("many.pth", zip.bytes)
        let error = failure { _ = try TorchArchive(path: path) } as? SwanError
        #expect(error?.message.contains("far more small parts") == true, "\(name)")
    }

    @Test func readsAValidCheckpoint() throws {
        let directory = try TemporaryDirectory()
        let archive = try TorchArchive(path: directory.file("sound.pth", Self.sound.bytes))
        #expect(archive.tensors()["w"]?.shape == [4])
    }

    /// A list that refers to the same list twice, 60 levels deep: 2^60 leaves if it were copied.
    @Test func doesNotCopySharedParts() throws {
        var pickle = Array("]q\u{0}".utf8)
        for level in UInt8(1)..<60 {
            pickle +=
                Array("](".utf8) + [0x68, level - 1, 0x68, level - 1] + Array("eq".utf8) + [level]
        }
        let directory = try TemporaryDirectory()
        let bytes = ZipBuilder.checkpoint(Pickle.of(pickle)).bytes
        _ = try TorchArchive(path: directory.file("shared.pth", bytes))
    }

    @Test(arguments: ["pth_state_dict.pth", "pth_nested_protocol4.pth"])
    func changedBytesNeverTrap(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Golden.path(name))))
        for position in stride(from: 0, to: whole.count, by: 7) {
            var bytes = whole
            bytes[position] = bytes[position] &* 31 &+ UInt8(truncatingIfNeeded: position) | 1
            let path = try directory.file("changed.pth", bytes)
            let error = failure {
                let archive = try TorchArchive(path: path)
                for tensor in archive.tensors().values where tensor.shape.reduce(1, *) < 1000 {
                    _ = try tensor.load().cloned()
                }
            }
            #expect(error == nil || error is SwanError)
        }
    }

    @Test func refusesEveryTruncation() throws {
        let directory = try TemporaryDirectory()
        let whole = Self.sound.bytes
        for count in 0..<whole.count {
            let path = try directory.file("cut.pth", Array(whole.prefix(count)))
            let error = failure { _ = try TorchArchive(path: path) } as? SwanError
            #expect(error?.code == .invalidFile, "\(count) bytes of \(whole.count)")
        }
    }
}
