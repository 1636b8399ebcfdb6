public import SwanSystem

/// A checkpoint written by `torch.save` (`.pth`, `.pt`), mapped into memory.
///
/// Its pickle is run by a reader that supports weights and nothing else: a file that refers to any
/// name outside a short list is rejected. Everything is checked when the file is opened; the
/// tensors are views of the file, so a large checkpoint costs nothing until its tensors are used.
public final class TorchArchive: Sendable {
    /// The path that the file was opened with.
    public let path: String
    /// The saved value.
    public let root: PickledValue
    private let file: MappedFile

    private static let longestPickle = 16 << 20

    /// The maximum number of tensors that share an element, on average: several may be views of it.
    private static let mostShares = 4

    /// Maps a file and reads its structure, without the tensors' data.
    public init(path: String) throws(SwanError) {
        self.path = path
        file = try MappedFile(path: path)
        try Self.checkKind(file)
        let files = try ZipDirectory(file).files
        let folder = try Self.folder(files.keys, file)
        if let order = files["\(folder)/byteorder"] {
            guard file.bytes[order].elementsEqual("little".utf8) else {
                throw file.invalid("was written on a big-endian machine; save it again on another")
            }
        }
        guard let range = files["\(folder)/data.pkl"], range.count <= Self.longestPickle else {
            throw file.invalid("its data.pkl has more than \(Self.longestPickle) bytes")
        }
        let pickle = UnsafeRawBufferPointer(rebasing: file.bytes[range])
        let storages = Self.storages(files, folder)
        var unpickler = Unpickler(pickle, in: file) { storages[$0] }
        do {
            let item = try unpickler.run()
            var tree = PickleTree(
                unpickler.parts,
                tensorBytes: Self.mostShares * file.count,
                keyBytes: Unpickler.memory(for: range.count)
            )
            root = try tree.value(item)
        } catch {
            throw file.invalid("data.pkl, byte \(error.offset): \(error.what)")
        }
        try file.requireWhole()
    }

    /// The files with the tensors' storages, by their keys in the pickle.
    private static func storages(
        _ files: [String: Range<Int>],
        _ folder: String
    ) -> [String: Range<Int>] {
        let prefix = "\(folder)/data/"
        var storages: [String: Range<Int>] = [:]
        for (name, range) in files where name.hasPrefix(prefix) {
            storages[String(name.dropFirst(prefix.count))] = range
        }
        return storages
    }

    /// Throws if the file was changed in any way since it was opened.
    public func requireUnchanged() throws(SwanError) { try file.requireUnchanged() }

    /// The dictionary at a path of keys from the root; nil if there is none.
    public func dictionary(at keys: [String] = []) -> [String: PickledValue]? {
        var value = root
        for key in keys {
            guard case .dictionary(let members) = value, let next = members[key] else { return nil }
            value = next
        }
        guard case .dictionary(let members) = value else { return nil }
        return members
    }

    /// The tensors directly in the dictionary at a path of keys.
    public func tensors(at keys: [String] = []) -> [String: ArchivedTensor] {
        (dictionary(at: keys) ?? [:]).compactMapValues {
            guard case .tensor(let tensor) = $0 else { return nil }
            return tensor
        }
    }

    /// Whether a file starts like one written by `torch.save`, in the current or an older format.
    public static func isArchive(_ path: String) throws(SwanError) -> Bool {
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) {
            file.bytes.starts(with: zipMagic) || file.bytes.starts(with: oldMagic)
        }
    }

    private static let zipMagic = Array("PK\u{3}\u{4}".utf8)
    private static let oldMagic: [UInt8] = [
        0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19,
    ]

    /// Rejects a file that is not a zip archive, naming its format if it is known.
    private static func checkKind(_ file: MappedFile) throws(SwanError) {
        guard !file.bytes.starts(with: oldMagic) else {
            throw file.invalid(
                "is in the format of PyTorch before 1.6; load it there and save it again with"
                    + " torch.save"
            )
        }
        guard file.bytes.starts(with: zipMagic) else {
            let words = "is not a checkpoint of PyTorch: it is not a zip archive"
            throw file.invalid(file.knownOtherKind() ?? words)
        }
    }

    /// The folder that contains all files of an archive.
    private static func folder(
        _ names: some Collection<String>,
        _ file: MappedFile
    ) throws(SwanError) -> String {
        let pickles = names.filter {
            $0.hasSuffix("/data.pkl") && $0.split(separator: "/").count == 2
        }
        guard pickles.count == 1, let pickle = pickles.first else {
            throw file.invalid("is not a checkpoint of PyTorch: the archive has no data.pkl")
        }
        let folder = String(pickle.dropLast("/data.pkl".count))
        guard !names.contains("\(folder)/constants.pkl") else {
            throw file.invalid("is a TorchScript program; save its state_dict instead")
        }
        return folder
    }
}
