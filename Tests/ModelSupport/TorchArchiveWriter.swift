import Foundation
import Torch

/// Writes weights like `torch.save`: a ZIP archive of a pickled dictionary and one file per tensor.
enum TorchArchiveWriter {
    private static let storages: [DType: String] = [
        .float32: "FloatStorage", .bfloat16: "BFloat16Storage", .float16: "HalfStorage",
    ]

    static func write(_ tensors: [String: Tensor], to path: String) throws {
        var zip = StoredZip()
        var pickle = Pickle()
        pickle.begin()
        for (number, entry) in tensors.sorted(by: { $0.key < $1.key }).enumerated() {
            let tensor = try entry.value.contiguous()
            pickle.tensor(entry.key, tensor.shape, storages[tensor.dtype] ?? "", number)
            try zip.add("archive/data/\(number)", tensor.withUnsafeBytes { Data($0) })
        }
        zip.add("archive/data.pkl", pickle.ended())
        zip.add("archive/version", Data("3\n".utf8))
        try zip.ended().write(to: URL(fileURLWithPath: path))
    }
}

/// A pickled dictionary of tensors, in protocol 2.
private struct Pickle {
    private var data = Data([0x80, 2])

    mutating func begin() { put("}(") }

    mutating func tensor(_ key: String, _ shape: [Int], _ storage: String, _ number: Int) {
        string(key)
        put("ctorch._utils\n_rebuild_tensor_v2\n((")
        string("storage")
        put("ctorch\n\(storage)\n")
        string(String(number))
        string("cpu")
        integer(shape.reduce(1, *))
        put("tQ")
        integer(0)
        tuple(shape)
        let strides = shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
        tuple(strides)
        // False: the tensor does not require gradients.
        data.append(0x89)
        put("ccollections\nOrderedDict\n)RtR")
    }

    func ended() -> Data { data + Data("u.".utf8) }

    private mutating func tuple(_ values: [Int]) {
        put("(")
        values.forEach { integer($0) }
        put("t")
    }

    private mutating func string(_ text: String) {
        put("X")
        data.append(littleEndian: UInt32(text.utf8.count))
        put(text)
    }

    private mutating func integer(_ value: Int) {
        put("J")
        data.append(littleEndian: UInt32(value))
    }

    private mutating func put(_ text: String) { data.append(contentsOf: text.utf8) }
}

/// A ZIP archive of uncompressed files.
private struct StoredZip {
    private var data = Data()
    private var directory = Data()
    private var count = 0

    mutating func add(_ name: String, _ content: Data) {
        let offset = UInt32(data.count)
        // Version, flags, method, time and date; then checksum, sizes and lengths.
        var header = Data()
        for field: UInt16 in [20, 0, 0, 0, 0x21] { header.append(littleEndian: field) }
        header.append(littleEndian: crc32(content))
        header.append(littleEndian: UInt32(content.count))
        header.append(littleEndian: UInt32(content.count))
        header.append(littleEndian: UInt16(name.utf8.count))
        header.append(littleEndian: UInt16(0))
        data.append(contentsOf: Array("PK\u{3}\u{4}".utf8) + header + Array(name.utf8) + content)
        directory.append(contentsOf: Array("PK\u{1}\u{2}".utf8) + [20, 0] + header)
        // Comment, disk and attributes.
        directory.append(contentsOf: [UInt8](repeating: 0, count: 10))
        directory.append(littleEndian: offset)
        directory.append(contentsOf: name.utf8)
        count += 1
    }

    func ended() -> Data {
        var end = Data(Array("PK\u{5}\u{6}".utf8) + [0, 0, 0, 0])
        end.append(littleEndian: UInt16(count))
        end.append(littleEndian: UInt16(count))
        end.append(littleEndian: UInt32(directory.count))
        end.append(littleEndian: UInt32(data.count))
        end.append(littleEndian: UInt16(0))
        return data + directory + end
    }

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { sum, _ in sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0) }
    }

    private func crc32(_ content: Data) -> UInt32 {
        let table = Self.table
        return content.withUnsafeBytes { bytes in
            var sum = ~UInt32(0)
            for byte in bytes { sum = sum >> 8 ^ table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] }
            return ~sum
        }
    }
}

extension Data {
    fileprivate mutating func append(littleEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}
