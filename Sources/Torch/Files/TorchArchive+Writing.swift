import CTorch
import Glibc
public import SwanSystem

extension TorchArchive {
    /// Writes a dictionary of tensors as `torch.save` does, to a file that replaces `path` once it is
    /// complete. PyTorch reads it with `torch.load(path, weights_only=True)`.
    public static func write(
        _ tensors: [String: Tensor],
        to path: String
    ) throws(SwanError) {
        try write(tensors.map { Member(group: nil, name: $0.key, tensor: $0.value) }, path)
    }

    /// Writes a dictionary of dictionaries of tensors, such as `["generator": …, "critic": …]`.
    public static func write(
        groups: [String: [String: Tensor]],
        to path: String
    ) throws(SwanError) {
        let members = groups.flatMap { group, tensors in
            tensors.map { Member(group: group, name: $0.key, tensor: $0.value) }
        }
        try write(members, path)
    }

    private struct Member {
        let group: String?
        let name: String
        let tensor: Tensor
    }

    private static func write(_ members: [Member], _ path: String) throws(SwanError) {
        let order = members.sorted { ($0.group ?? "", $0.name) < ($1.group ?? "", $1.name) }
        let size = order.reduce(1) { $0 + $1.tensor.byteCount }
        _ = Leftovers.remove(from: Folder.path(of: path))
        let file = try PartialFile(target: path, byteCount: size)
        let sink = Sink(try file.makeDescriptor(), path)
        let names = CStrings(order.map(\.name))
        let groups = CStrings(order.map(\.group))
        do throws(SwanError) {
            _ = try engine { error in
                withExtendedLifetime((order, names, groups)) {
                    let isWritten = ct_archive_write(
                        groups.pointers,
                        names.pointers,
                        order.map { $0.tensor.handle.raw },
                        order.count,
                        { context, bytes, count in
                            guard let context, let bytes else { return count == 0 }
                            let sink = Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue()
                            return sink.write(UnsafeRawBufferPointer(start: bytes, count: count))
                        },
                        Unmanaged.passUnretained(sink).toOpaque(),
                        &error
                    )
                    return isWritten ? true : nil
                }
            }
        } catch {
            throw sink.failure ?? error
        }
        try file.commit()
    }
}

/// Where the bytes of an archive go, and what went wrong there.
private final class Sink {
    private let descriptor: Int32
    private let path: String
    private(set) var failure: SwanError?

    init(_ descriptor: Int32, _ path: String) { (self.descriptor, self.path) = (descriptor, path) }

    deinit { close(descriptor) }

    func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        do throws(SwanError) {
            try OutputPath.write(bytes, to: descriptor, path) { _ in false }
            return true
        } catch {
            failure = error
            return false
        }
    }
}

/// Null-terminated copies of strings; nil becomes a null pointer.
private final class CStrings {
    let pointers: [UnsafePointer<CChar>?]

    init(_ strings: [String?]) {
        pointers = strings.map { string in string.map { UnsafePointer(strdup($0)) } }
    }

    deinit { for pointer in pointers { free(UnsafeMutablePointer(mutating: pointer)) } }
}
