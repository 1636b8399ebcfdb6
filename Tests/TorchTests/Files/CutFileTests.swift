import CTorch
import Foundation
import GoldenSupport
import Testing

@testable import Torch
import SwanSystem

/// Files that change while they are mapped.
///
/// Each test runs in its own process, because a truncated file affects the whole process.
@Suite struct CutFileTests {
    /// Writes a file of ones, 64 KB by default, and maps its tensor.
    private static func mapped(
        _ directory: TemporaryDirectory,
        count: Int = 16_384
    ) throws -> (String, SafetensorsFile, Tensor) {
        let path = directory.path("weights.safetensors")
        try Safetensors.write(["w": Tensor.ones([count])], to: path)
        let file = try SafetensorsFile(path: path)
        return (path, file, try file.tensor("w"))
    }

    @Test func operatorsOnTruncatedMemoryThrow() async {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let (path, file, tensor) = try CutFileTests.mapped(directory)
            #expect(try tensor.sum().item() == 16_384)
            let kept = try Tensor.ones([4])
            #expect(truncate(path, 8_192) == 0)
            for _ in 0..<2 {
                let error = failure { _ = try tensor.sum() } as? SwanError
                let message = "\(path): was truncated or changed while it was in use"
                #expect(error == SwanError(.invalidFile, message))
            }
            #expect(failure { _ = try tensor.array(of: Float.self) } is SwanError)
            #expect(failure { _ = try tensor.narrowed(0, 0, 4).max().item() } is SwanError)
            #expect(failure { try file.requireUnchanged() } is SwanError)
            #expect(failure { try Engine.requireWholeFiles() } is SwanError)
            // Other memory is unaffected.
            #expect(try kept.sum().item() == 4)
        }
    }

    /// The system fills the rest of a file's last page with zeros.
    @Test func detectsAFewMissingBytes() async {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let (path, file, tensor) = try CutFileTests.mapped(directory, count: 16)
            let size = try #require(
                FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
            )
            try Engine.requireWholeFiles()
            #expect(truncate(path, size - 8) == 0)
            #expect(try tensor.sum().item() == 14)
            #expect(failure { try Engine.requireWholeFiles() } is SwanError)
            #expect(failure { try file.requireUnchanged() } is SwanError)
        }
    }

    @Test func abandonsFilesWrittenFromTruncatedMemory() async {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let (path, _, tensor) = try CutFileTests.mapped(directory)
            #expect(truncate(path, 8_192) == 0)
            let error = failure {
                try Safetensors.write(["w": tensor], to: directory.path("copy.safetensors"))
            }
            #expect((error as? SwanError)?.code == .invalidFile, "\(String(describing: error))")
            #expect(try directory.names == ["weights.safetensors"])
        }
    }

    @Test func detectsWritesToAMappedFile() async {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let (path, file, tensor) = try CutFileTests.mapped(directory)
            try file.requireUnchanged()
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data([1, 2, 3]))
            try handle.close()
            // Appending does not affect the existing bytes.
            #expect(try tensor.sum().item() == 16_384)
            try Engine.requireWholeFiles()
            #expect(failure { try file.requireUnchanged() } is SwanError)
        }
    }

    /// Replacing a file leaves the mapping of the old one intact.
    @Test func replacedFilesRemainReadable() async {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let (path, _, tensor) = try CutFileTests.mapped(directory)
            try Safetensors.write(["w": Tensor.zeros([1])], to: path)
            #expect(try tensor.sum().item() == 16_384)
            try Engine.requireWholeFiles()
        }
    }

    /// An invalid access unrelated to a mapped file still ends the process.
    @Test func doesNotHideOtherInvalidAccesses() async {
        await #expect(processExitsWith: .signal(SIGBUS)) {
            let directory = try TemporaryDirectory()
            let (_, file, _) = try CutFileTests.mapped(directory)
            let path = try directory.file("other", [1])
            let descriptor = open(path, O_RDONLY)
            let other = mmap(nil, 8_192, PROT_READ, MAP_PRIVATE, descriptor, 0)
            withExtendedLifetime(file) { ct_touch(other, 8_192) }
        }
    }
}

/// Tensors over memory with another owner.
@Suite struct BorrowedMemoryTests {
    /// Libtorch rejects some shapes after it has taken over the memory, others before.
    @Test(arguments: [
        [0, 1 << 62, 1 << 62], [-1], [1 << 62, 1 << 62], [1 << 62, 4, 0], [2],
    ]) func isReleasedOnce(_ shape: [Int64]) {
        let releases = UnsafeMutablePointer<Int>.allocate(capacity: 1)
        releases.initialize(to: 0)
        defer { releases.deallocate() }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16)
        defer { memory.deallocate() }
        var error = ct_error()
        let tensor = ct_tensor_from_memory(
            memory,
            shape,
            Int32(shape.count),
            DType.float32.rawValue,
            { $0?.assumingMemoryBound(to: Int.self).pointee += 1 },
            releases,
            &error
        )
        if let tensor {
            #expect(releases.pointee == 0)
            ct_tensor_release(tensor)
        } else {
            #expect(error.message != nil)
            ct_error_free(&error)
        }
        #expect(releases.pointee == 1)
    }

    @Test func refusesImpossibleShapes() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16)
        defer { memory.deallocate() }
        let shapes = [[0, 1 << 62, 1 << 62], [-1], Array(repeating: 1, count: 65)]
        for shape in shapes {
            let error = failure {
                _ = try Tensor(memory: memory, shape, .float32, owner: TensorHandleOwner())
            }
            #expect((error as? SwanError)?.code == .invalidArgument)
        }
    }

    private final class TensorHandleOwner {}
}
