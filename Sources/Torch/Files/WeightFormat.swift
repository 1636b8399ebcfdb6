public import SwanSystem

/// The format of a file with weights.
public enum WeightFormat: Sendable {
    case safetensors
    /// Written by `torch.save`.
    case archive
    case gguf

    /// Detects the format from the first bytes of a file, whatever its name is.
    ///
    /// - Throws: `invalidFile`, for files that are known not to be weights, with what they are.
    public static func detect(_ path: String) throws(SwanError) -> WeightFormat {
        if try TorchArchive.isArchive(path) { return .archive }
        let file = try MappedFile(path: path)
        if file.bytes.starts(with: GGUFHeader.magic) { return .gguf }
        return .safetensors
    }
}

/// What a person can do about a file that is not complete.
enum Advice {
    static let again = "resume the download, or download it again"
}

extension MappedFile {
    /// An error about a file that ends before its last tensor.
    ///
    /// - Parameter size: The size in bytes that the header describes.
    func cut(needing size: Int) -> SwanError {
        let percent = Int(100 * Double(count) / Double(size))
        return invalid(
            "is cut short: its header describes \(size) bytes, the file has \(count) (\(percent)%);"
                + " \(Advice.again)" + unfinished
        )
    }

    /// The traces that download programs leave beside a file, or in its name.
    private var unfinished: String {
        let endings = [".aria2", ".part", ".crdownload", ".incomplete", ".download"]
        if let ending = endings.first(where: path.hasSuffix) {
            return ". Its name ends in \(ending): the download is not finished"
        }
        guard let trace = endings.first(where: { FileIdentity.isTaken(path + $0) }) else {
            return ""
        }
        return ". A file of the same name with \(trace) is beside it: the download is not finished"
    }

    /// What the file is, if its first bytes are known not to be those of weights; nil for others.
    func knownOtherKind() -> String? {
        let head = bytes.prefix(512)
        let text = String(decoding: head, as: UTF8.self)
        let start = text.drop { $0.isWhitespace }.lowercased()
        if text.hasPrefix("version https://git-lfs") || text.hasPrefix("# xet version") {
            return "is a pointer of Git LFS, a text of \(count) bytes in place of the weights: run"
                + " 'git lfs pull' in its repository, or download the file itself"
        }
        if ["<!doctype", "<html", "<head", "<?xml"].contains(where: start.hasPrefix) {
            return
                "is a web page, not weights: the server sent a page, such as an error or a login,"
                + " instead of the file; download it again, from the address of the file itself"
        }
        let archives: [(magic: [UInt8], name: String)] = [
            ([0x1F, 0x8B], "gzip"), (Array("7z".utf8) + [0xBC, 0xAF], "7-Zip"),
            ([0xFD] + Array("7zXZ".utf8), "xz"), ([0x28, 0xB5, 0x2F, 0xFD], "Zstandard"),
            (Array("Rar!".utf8), "RAR"),
        ]
        if let archive = archives.first(where: { head.starts(with: $0.magic) }) {
            return "is a compressed archive (\(archive.name)): unpack it, and use the weights in it"
        }
        if count >= 512, head.allSatisfy({ $0 == 0 }) {
            return "begins with zeros: the space was reserved, but the download is not finished;"
                + " \(Advice.again)" + unfinished
        }
        let isText = head.allSatisfy { $0 >= 0x20 && $0 < 0x7F || [0x09, 0x0A, 0x0D].contains($0) }
        guard isText, count >= 8, count <= 1 << 16 else { return nil }
        let quoted =
            text.split(whereSeparator: \.isNewline).first.map { String($0.prefix(80)) } ?? ""
        return "is a text, not weights: it begins with \"\(quoted)\"; download it again"
    }
}
