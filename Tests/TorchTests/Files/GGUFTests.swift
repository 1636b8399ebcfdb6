import Foundation
import GoldenSupport
import SwanSystem
import Testing
import Torch

/// GGUF files: one written by the format's own package (Goldens/gguf_files.py), and invalid ones.
@Suite struct GGUFTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func refusal(_ build: (inout GGUFBuilder) -> Void) throws -> String {
        var builder = GGUFBuilder()
        builder.tensors = [.init("a", [2, 32], type: 8, Array(repeating: 0, count: 68))]
        build(&builder)
        let path = try directory.file("bad.gguf", builder.bytes)
        let error = failure { _ = try GGUFFile(path: path) } as? SwanError
        #expect(error?.code == .invalidFile)
        #expect(error?.message.hasPrefix("\(path): ") == true)
        return error?.message ?? ""
    }

    @Test func equalsTheReferenceInEveryBit() throws {
        let file = try GGUFFile(path: Golden.path("gguf_formats.gguf"))
        let golden = try SafetensorsFile(path: Golden.path("gguf_formats.safetensors"))
        #expect(file.keys == golden.keys)
        #expect(Set(BlockFormat.allCases.map(\.name)).isSubset(of: file.keys))
        for key in file.keys {
            let entry = try #require(file.entry(key))
            let expected = try golden.tensor(key)
            #expect(entry.shape == expected.shape, "\(key)")
            let stored = try file.tensor(key)
            guard let format = entry.format else {
                let values = try stored.array(of: Float.self)
                #expect(values == (try expected.array(of: Float.self)), "\(key)")
                continue
            }
            #expect(format.name == key || key == "narrow")
            let blocks = try stored.reshaped([-1, format.byteCount])
            for operation in [
                Operator("swan::dequantize"), Operator("swan::dequantize", "composite"),
            ] {
                let weights = try operation(blocks, format.rawValue, DType.float32)
                let bits = try weights.array(of: Float.self).map(\.bitPattern)
                #expect(bits == (try expected.array(of: Float.self)).map(\.bitPattern), "\(key)")
            }
        }
    }

    @Test(arguments: [DType.float16, .bfloat16])
    func otherDtypesAreRounded(dtype: DType) throws {
        let file = try GGUFFile(path: Golden.path("gguf_formats.gguf"))
        for format in BlockFormat.allCases {
            let blocks = try file.tensor(format.name).reshaped([-1, format.byteCount])
            let expected = try blocks.dequantized(format, to: .float32).to(dtype)
            for device in Device.tested {
                let found = try blocks.to(device).dequantized(format, to: dtype)
                #expect(found.dtype == dtype)
                #expect(
                    try found.array(of: Float.self) == (try expected.array(of: Float.self)),
                    "\(format) \(device)"
                )
            }
        }
    }

    @Test func readsVersion2AndMetadata() throws {
        var builder = GGUFBuilder()
        builder.version = 2
        builder.alignment = 128
        builder.values = [
            ("general.alignment", .uint32(128)), ("general.architecture", .text("t5encoder")),
            ("flag", .bool(true)), ("words", .texts(["a", "", "über"])), ("scores", .floats([1.5])),
        ]
        builder.tensors = [.init("a", [2], [1, 2]), .init("b", [], [3]), .init("c", [0, 4], [])]
        let file = try GGUFFile(path: directory.file("a.gguf", builder.bytes))
        #expect(file.text("general.architecture") == "t5encoder")
        #expect(file.integer("general.alignment") == 128 && file.integer("flag") == 1)
        #expect(
            file.texts("words")?.map { String(decoding: $0, as: UTF8.self) } == ["a", "", "über"]
        )
        #expect(file.numbers("scores") == [1.5] && file.numbers("words") == nil)
        #expect(file.text("flag") == nil && file.integer("nothing") == nil)
        #expect(try file.tensor("a").array(of: Float.self) == [1, 2])
        #expect(try file.tensor("b").array(of: Float.self) == [3])
        #expect(try file.tensor("c").shape == [0, 4])
    }

    private func expect(_ words: String, _ change: (inout GGUFBuilder) -> Void) throws {
        let message = try refusal(change)
        #expect(message.contains(words), "\(message)")
    }

    @Test func namesWrongNumbers() throws {
        try expect("version 1; 2 and 3 are supported") { $0.version = 1 }
        try expect("big-endian") { $0.version = 3 << 24 }
        try expect("without tensors") { $0.tensors = [] }
        try expect("at most 250000") { $0.tensorCount = UInt64.max }
        try expect("at most 250000") { $0.valueCount = 1 << 40 }
        try expect("cut short within its header") { $0.tensorCount = 9 }
        try expect("at most 2000 bytes") {
            $0.tensors[0].name = String(repeating: "a", count: 3_000)
        }
        try expect("not a power of two") { $0.values = [("general.alignment", .uint32(48))] }
        try expect("not a power of two") { $0.values = [("general.alignment", .uint32(0))] }
    }

    @Test func namesWrongTensors() throws {
        try expect("type IQ2_S, which is not supported; supported: F32") { $0.tensors[0].type = 22 }
        try expect("type 99, which is not supported") { $0.tensors[0].type = 99 }
        try expect("does not consist of whole blocks") { $0.tensors[0].shape = [2, 33] }
        try expect("too large") { $0.tensors[0].shape = [Int.max / 64, 64] }
        try expect("too large") { $0.tensors[0].shape = [-1, 32] }
        try expect("has 9 dimensions; at most 8") {
            $0.tensors[0].shape = Array(repeating: 1, count: 9)
        }
        try expect("is cut short: its header describes") { $0.tensors[0].shape = [64, 32] }
        try expect("not a multiple of the alignment 32") { $0.tensors[0].offset = 7 }
        try expect("is cut short") { $0.tensors[0].offset = 1 << 62 }
        try expect("begins at") { $0.tensors[0].offset = UInt64.max }
        try expect("occurs twice") { $0.tensors.append($0.tensors[0]) }
        try expect("a and b overlap") {
            $0.tensors.append(.init("b", [2, 32], type: 8, Array(repeating: 0, count: 68)))
            $0.tensors[1].offset = 32
        }
    }

    @Test func namesWrongValues() throws {
        let zeros = [UInt8](repeating: 0, count: 7)
        let ones = [UInt8](repeating: 255, count: 8)
        let shape = "comfy.gguf.orig_shape.a"
        try expect("value a occurs twice") { $0.values = [("a", .uint32(1)), ("a", .uint32(2))] }
        try expect("unknown type 77") { $0.values = [("a", .raw(77, []))] }
        try expect("arrays in an array") { $0.values = [("a", .raw(9, [9, 0, 0, 0, 1] + zeros))] }
        try expect("cut short") { $0.values = [("a", .raw(9, [8, 0, 0, 0] + ones))] }
        try expect("cut short") { $0.values = [("a", .raw(8, ones))] }
        try expect("another size") { $0.values = [(shape, .int32s([2, 31]))] }
        try expect("another size") { $0.values = [(shape, .int32s([-2, -32]))] }
        try expect("not a list of integers") { $0.values = [(shape, .texts(["2"]))] }
        try expect("is not a shape") { $0.values = [(shape, .uint32(64))] }
    }

    @Test func damageNeverTraps() throws {
        var builder = GGUFBuilder()
        builder.values = [
            ("general.architecture", .text("wan")), ("words", .texts(["a", "bc"])),
            ("comfy.gguf.orig_shape.a", .int32s([2, 2, 16])),
        ]
        builder.tensors = [.init("a", [2, 32], type: 8, Array(repeating: 1, count: 68))]
        let whole = builder.bytes
        for count in 0..<whole.count {
            let path = try directory.file("cut.gguf", Array(whole.prefix(count)))
            let error = failure { _ = try GGUFFile(path: path) } as? SwanError
            #expect(error?.code == .invalidFile, "\(count) bytes of \(whole.count)")
        }
        for bit in 0..<((whole.count - 68) * 8) {
            var bytes = whole
            bytes[bit / 8] ^= 1 << (bit % 8)
            let path = try directory.file("turned.gguf", bytes)
            let error = failure {
                let file = try GGUFFile(path: path)
                for key in file.keys { _ = try file.tensor(key) }
            }
            #expect(error == nil || error is SwanError)
        }
    }
}
