import SwanSystem

/// The locations of the files in an uncompressed zip archive (with zip64, as PyTorch writes it).
struct ZipDirectory {
    /// The byte range of every file by name.
    private(set) var files: [String: Range<Int>] = [:]

    private static let endSignature: UInt32 = 0x0605_4b50
    private static let bigEndSignature: UInt32 = 0x0606_4b50
    private static let bigEndLocator: UInt32 = 0x0706_4b50
    private static let entrySignature: UInt32 = 0x0201_4b50
    private static let fileSignature: UInt32 = 0x0403_4b50

    /// Reads the directory at the end of an archive and checks that its files are inside it and do
    /// not overlap.
    init(_ archive: MappedFile) throws(SwanError) {
        do {
            let (start, count) = try Self.directory(archive)
            var reader = ByteReader(archive.bytes, at: start)
            for _ in 0..<count { try readEntry(&reader, archive) }
        } catch let error as SwanError {
            throw error
        } catch {
            throw archive.invalid("the archive's directory is truncated or damaged")
        }
        try checkOverlaps(archive)
    }

    /// The start of the directory and its number of entries.
    private static func directory(_ archive: MappedFile) throws -> (start: Int, count: UInt64) {
        let shortest = 22
        let bytes = archive.bytes
        var end = bytes.count - shortest
        let first = Swift.max(0, end - Int(UInt16.max))
        while end >= first,
            bytes.loadUnaligned(fromByteOffset: end, as: UInt32.self) != endSignature.littleEndian
        {
            end -= 1
        }
        guard end >= first else {
            throw archive.invalid(
                "is cut short: the archive's directory, at its end, is missing; \(Advice.again)"
            )
        }
        var reader = ByteReader(bytes, at: end + 10)
        var count = UInt64(try reader.integer(UInt16.self))
        try reader.skip(4)
        var start = UInt64(try reader.integer(UInt32.self))

        var locator = ByteReader(bytes, at: end - 20)
        if end >= 20, try locator.integer() == bigEndLocator {
            try locator.skip(4)
            guard let bigEnd = Int(exactly: try locator.integer(UInt64.self)) else {
                throw ByteReader.End()
            }
            var big = ByteReader(bytes, at: bigEnd)
            guard try big.integer() == bigEndSignature else { throw ByteReader.End() }
            try big.skip(28)
            count = try big.integer()
            try big.skip(8)
            start = try big.integer()
        }
        guard let start = Int(exactly: start) else { throw ByteReader.End() }
        return (start, count)
    }

    private mutating func readEntry(_ reader: inout ByteReader, _ archive: MappedFile) throws {
        guard try reader.integer() == Self.entrySignature else { throw ByteReader.End() }
        try reader.skip(4)
        let flags = try reader.integer(UInt16.self)
        let method = try reader.integer(UInt16.self)
        try reader.skip(8)
        var packed = UInt64(try reader.integer(UInt32.self))
        var size = UInt64(try reader.integer(UInt32.self))
        let nameLength = try reader.integer(UInt16.self)
        let extraLength = try reader.integer(UInt16.self)
        let commentLength = try reader.integer(UInt16.self)
        try reader.skip(8)
        var start = UInt64(try reader.integer(UInt32.self))
        guard let name = String(validating: try reader.piece(nameLength), as: UTF8.self) else {
            throw archive.invalid("a file's name in the archive is not UTF-8")
        }
        let extra = try reader.piece(extraLength)
        try reader.skip(Int(commentLength))
        try Self.widen(&size, &packed, &start, by: UnsafeRawBufferPointer(rebasing: extra))

        guard flags & 1 == 0 else { throw archive.invalid("\(name) in the archive is encrypted") }
        guard method == 0 else {
            throw archive.invalid(
                "\(name) in the archive is compressed; PyTorch writes checkpoints uncompressed, so"
                    + " that they can be mapped: save it again with torch.save"
            )
        }
        guard size == packed, let start = Int(exactly: start), size <= archive.count else {
            throw archive.invalid(
                "\(name) in the archive claims \(size) bytes; the whole file has"
                    + " \(archive.count)"
            )
        }
        let data = try Self.dataStart(start, archive)
        guard data + Int(size) <= archive.count else {
            throw archive.invalid("\(name) in the archive extends beyond the file")
        }
        guard files.updateValue(data..<(data + Int(size)), forKey: name) == nil else {
            throw archive.invalid("\(name) is in the archive twice")
        }
    }

    /// Replaces the fields that are marked as too small by their 64-bit values.
    private static func widen(
        _ size: inout UInt64,
        _ packed: inout UInt64,
        _ start: inout UInt64,
        by extra: UnsafeRawBufferPointer
    ) throws {
        let escape = UInt64(UInt32.max)
        var reader = ByteReader(extra)
        while reader.offset + 4 <= extra.count {
            let kind = try reader.integer(UInt16.self)
            let length = try reader.integer(UInt16.self)
            var field = ByteReader(UnsafeRawBufferPointer(rebasing: try reader.piece(length)))
            guard kind == 1 else { continue }
            if size == escape { size = try field.integer() }
            if packed == escape { packed = try field.integer() }
            if start == escape { start = try field.integer() }
        }
    }

    /// The start of a file's bytes after its local header.
    private static func dataStart(_ header: Int, _ archive: MappedFile) throws -> Int {
        var reader = ByteReader(archive.bytes, at: header)
        guard try reader.integer() == fileSignature else { throw ByteReader.End() }
        try reader.skip(22)
        let nameLength = try reader.integer(UInt16.self)
        let extraLength = try reader.integer(UInt16.self)
        return reader.offset + Int(nameLength) + Int(extraLength)
    }

    private func checkOverlaps(_ archive: MappedFile) throws(SwanError) {
        let order = files.filter { !$0.value.isEmpty }
            .sorted { $0.value.lowerBound < $1.value.lowerBound }
        for (one, next) in zip(order, order.dropFirst())
        where one.value.upperBound > next.value.lowerBound {
            throw archive.invalid("\(one.key) and \(next.key) overlap in the archive")
        }
    }
}
