/// Builds ZIP archives byte by byte, including invalid ones.
struct ZipBuilder {
    struct File {
        var name: String
        var data: [UInt8]
        var method: UInt16 = 0
        var flags: UInt16 = 0
        /// The sizes that the directory declares; the actual ones if nil.
        var size: UInt64?
        var packed: UInt64?
        /// The offset that the directory declares; the actual one if nil.
        var offset: UInt64?
        /// Whether the directory stores sizes and the offset in 64 bits.
        var isWide = false
    }

    var files: [File] = []
    /// The number of entries declared at the end of the directory.
    var count: UInt16?
    var start: UInt32?
    /// Whether the end of the directory is a ZIP64 record, with the short record saturated.
    var isWide = false
    var comment: [UInt8] = []

    var bytes: [UInt8] {
        var archive: [UInt8] = []
        var directory: [UInt8] = []
        for file in files {
            let offset = file.offset ?? UInt64(archive.count)
            let name = Array(file.name.utf8)
            archive += le(0x0403_4b50 as UInt32) + le(20 as UInt16) + le(file.flags)
            archive += le(file.method) + le(0 as UInt32) + le(0 as UInt32) + le(0 as UInt32)
            archive += le(0 as UInt32) + le(UInt16(name.count)) + le(0 as UInt16) + name + file.data

            let size = file.size ?? UInt64(file.data.count)
            let packed = file.packed ?? size
            let wide =
                file.isWide
                ? le(1 as UInt16) + le(24 as UInt16) + le(size) + le(packed) + le(offset) : []
            let narrow = { (value: UInt64) in file.isWide ? UInt32.max : UInt32(value) }
            directory += le(0x0201_4b50 as UInt32) + le(20 as UInt16) + le(20 as UInt16)
            directory += le(file.flags) + le(file.method) + le(0 as UInt32) + le(0 as UInt32)
            directory += le(narrow(packed)) + le(narrow(size)) + le(UInt16(name.count))
            directory += le(UInt16(wide.count)) + le(0 as UInt16) + le(0 as UInt16)
            directory += le(0 as UInt16) + le(0 as UInt32) + le(narrow(offset)) + name + wide
        }
        let begin = archive.count
        archive += directory
        if isWide {
            let end = archive.count
            archive += le(0x0606_4b50 as UInt32) + le(44 as UInt64) + le(45 as UInt16)
            archive += le(45 as UInt16) + le(0 as UInt32) + le(0 as UInt32)
            archive += le(UInt64(files.count)) + le(UInt64(files.count))
            archive += le(UInt64(directory.count)) + le(UInt64(begin))
            archive += le(0x0706_4b50 as UInt32) + le(0 as UInt32) + le(UInt64(end))
            archive += le(1 as UInt32)
        }
        let count = count ?? (isWide ? .max : UInt16(files.count))
        archive += le(0x0605_4b50 as UInt32) + le(0 as UInt32) + le(count) + le(count)
        archive += le(UInt32(directory.count)) + le(start ?? (isWide ? .max : UInt32(begin)))
        return archive + le(UInt16(comment.count)) + comment
    }

    /// A checkpoint with a pickle and storages.
    static func checkpoint(_ pickle: [UInt8], _ storages: [String: [UInt8]] = [:]) -> ZipBuilder {
        let files = [File(name: "archive/data.pkl", data: pickle)]
        return ZipBuilder(
            files: files
                + storages.sorted { $0.key < $1.key }
                .map { File(name: "archive/data/\($0.key)", data: $0.value) }
        )
    }
}

private func le<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// Handwritten pickles: strings are opcodes, the rest are their arguments.
enum Pickle {
    static func text(_ text: String) -> [UInt8] {
        [UInt8(ascii: "X")] + le(UInt32(text.utf8.count)) + Array(text.utf8)
    }

    static func global(_ module: String, _ name: String) -> [UInt8] {
        Array("c\(module)\n\(name)\n".utf8)
    }

    static func integer(_ value: Int) -> [UInt8] { [0x8A, 8] + le(Int64(value)) }

    static func tuple(_ items: [UInt8]...) -> [UInt8] {
        [UInt8(ascii: "(")] + items.flatMap { $0 } + [UInt8(ascii: "t")]
    }

    /// A tensor backed by a storage of floats.
    static func tensor(
        storage: String = "0",
        count: Int,
        offset: Int = 0,
        shape: [Int],
        strides: [Int],
        type: String = "FloatStorage"
    ) -> [UInt8] {
        let storage = tuple(
            text("storage"),
            global("torch", type),
            text(storage),
            text("cpu"),
            integer(count)
        )
        let arguments: [[UInt8]] = [
            storage + [UInt8(ascii: "Q")], integer(offset),
            tuple(shape.flatMap(integer)), tuple(strides.flatMap(integer)), [0x89],
            global("collections", "OrderedDict") + [UInt8(ascii: ")"), UInt8(ascii: "R")],
        ]
        return global("torch._utils", "_rebuild_tensor_v2") + tuple(arguments.flatMap { $0 })
            + [UInt8(ascii: "R")]
    }

    /// A pickle of a single value.
    static func of(_ value: [UInt8]) -> [UInt8] { [0x80, 2] + value + [UInt8(ascii: ".")] }

    /// A dictionary with one value, under the key "w".
    static func dictionary(_ value: [UInt8]) -> [UInt8] {
        of(Array("}".utf8) + text("w") + value + Array("s".utf8))
    }
}
