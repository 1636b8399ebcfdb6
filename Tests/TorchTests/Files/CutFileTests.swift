import CTorch
import Foundation
import GoldenSupport
import Testing

@testable import Torch
import SwanSystem

/// Files that another process changes while they are mapped.
///
/// A process of its own for each: that a file was cut off is known to the whole process.
@Suite struct CutFileTests {
    /// A file of 64 KB of ones, and the tensor over it.
    private static func mapped(
        _ directory: TemporaryDirectory,
        count: Int = 16_384
    ) throws -> (String, SafetensorsFile, Tensor) {
        let path = directory.path("weights.safetensors")
        try Safetensors.write(["w": Tensor.ones([count])], to: path)
        let file = try SafetensorsFile(path: path)
        return (path, file, try file.tensor("w"))
    }

    @Test func anOperatorOnWhatIsGoneThrows() async {
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
            // What lies elsewhere is as good as before.
            #expect(try kept.sum().item() == 4)
        }
    }

    /// The system gives the end of a file's last page as zeros.
    @Test func aFewBytesLessAreNoticed() async {
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

    @Test func whatIsWrittenFromItIsGivenUp() async {
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

    @Test func aFileThatIsWrittenToMeanwhileIsNotUnchanged() async {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let (path, file, tensor) = try CutFileTests.mapped(directory)
            try file.requireUnchanged()
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data([1, 2, 3]))
            try handle.close()
            // More is no harm to what is there.
            #expect(try tensor.sum().item() == 16_384)
            try Engine.requireWholeFiles()
            #expect(failure { try file.requireUnchanged() } is SwanError)
        }
    }

    /// A file that takes the place of another leaves the mapping of that alone.
    @Test func aFileThatIsReplacedIsReadToItsEnd() async {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let (path, _, tensor) = try CutFileTests.mapped(directory)
            try Safetensors.write(["w": Tensor.zeros([1])], to: path)
            #expect(try tensor.sum().item() == 16_384)
            try Engine.requireWholeFiles()
        }
    }

    /// A bad access that has to do with no file ends the process as it always did.
    @Test func anotherBadAccessIsNotHidden() async {
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

/// Memory of another owner as a tensor.
@Suite struct BorrowedMemoryTests {
    /// Libtorch finds some shapes wrong when it has taken the memory over, others before.
    @Test(arguments: [
        [0, 1 << 62, 1 << 62], [-1], [1 << 62, 1 << 62], [1 << 62, 4, 0], [2],
    ]) func isLetGoOnce(_ shape: [Int64]) {
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

    @Test func aShapeThatNoTensorHasIsRefused() {
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
