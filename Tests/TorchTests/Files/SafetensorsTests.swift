import Foundation
import GoldenSupport
import Testing

@testable import Torch
import SwanSystem

@Suite struct SafetensorsTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test(arguments: DType.allCases.filter { $0 != .complex128 })
    func roundTripsEveryDType(_ dtype: DType) throws {
        let path = directory.path("a.safetensors")
        // An odd number of narrow elements next to wide ones: alignment must not leave gaps.
        let odd = try Tensor([0, 1, 1] as [Float], [3]).to(.bool)
        let tensor = try Tensor([0, 1, -2, 0.5, 3, 448] as [Float], [2, 3]).to(dtype)
        try Safetensors.write(["z": tensor, "a": odd], metadata: ["k": "v\n\"ü"], to: path)

        let file = try SafetensorsFile(path: path)
        #expect(file.keys == ["a", "z"])
        #expect(file.metadata == ["k": "v\n\"ü"])
        #expect(file.entry("z")?.dtype == dtype)
        #expect(file.entry("z")?.shape == [2, 3])
        #expect(file.entry("b") == nil)
        let read = try file.tensor("z")
        #expect(read.dtype == dtype)
        let same = try zip(bytes(of: read), bytes(of: tensor)).allSatisfy { $0 == $1 }
        #expect(same)
        #expect(try bytes(of: file.tensor("a")) == [0, 1, 1])
    }

    @Test func roundTripsScalarsEmptyTensorsAndEmptyFiles() throws {
        let path = directory.path("a.safetensors")
        try Safetensors.write(
            ["s": Tensor([7] as [Float], []), "e": Tensor.empty([0, 4]), "f": Tensor.empty([0])],
            to: path
        )
        let file = try SafetensorsFile(path: path)
        #expect(try file.tensor("s").item() == 7)
        #expect(try file.tensor("e").shape == [0, 4])

        try Safetensors.write([:], to: path)
        #expect(try SafetensorsFile(path: path).keys == [])
    }

    @Test func writesStridedTensorsInLogicalOrder() throws {
        let path = directory.path("a.safetensors")
        let tensor = try Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3]).transposed(0, 1)
        try Safetensors.write(["t": tensor], to: path)
        let read = try SafetensorsFile(path: path).tensor("t")
        #expect(read.shape == [3, 2])
        #expect(try read.array(of: Float.self) == [1, 4, 2, 5, 3, 6])
    }

    @Test func tensorsOutliveTheirFileAndDoNotWriteToIt() throws {
        let path = directory.path("a.safetensors")
        try Safetensors.write(["t": Tensor([1, 2] as [Float], [2])], to: path)
        let tensor = try SafetensorsFile(path: path).tensor("t")
        try FileManager.default.moveItem(atPath: path, toPath: directory.path("b.safetensors"))
        try tensor.withUnsafeBytes { bytes in bytes.copyBytes(from: repeatElement(0, count: 8)) }
        #expect(try tensor.array(of: Float.self) == [0, 0])
        let again = try SafetensorsFile(path: directory.path("b.safetensors")).tensor("t")
        #expect(try again.array(of: Float.self) == [1, 2])
    }

    @Test func copiesMisalignedTensors() throws {
        let header = #"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} "#
        let path = try directory.file(
            "a.safetensors",
            container(header, [0, 0, 128, 63, 0, 0, 0, 64])
        )
        #expect(try SafetensorsFile(path: path).tensor("t").array(of: Float.self) == [1, 2])
    }

    @Test func namesAMissingKey() throws {
        let path = directory.path("a.safetensors")
        try Safetensors.write(["t": Tensor([1] as [Float], [1])], to: path)
        let error = failure { _ = try SafetensorsFile(path: path).tensor("blocks.0.q") }
        #expect(
            error as? SwanError
                == SwanError(
                    .invalidWeights,
                    "\(path): there is no tensor blocks.0.q"
                )
        )
    }
}

// MARK: - Failed writes

extension SafetensorsTests {
    @Test func failedWritesKeepTheOldFile() throws {
        let path = directory.path("a.safetensors")
        try Safetensors.write(["t": Tensor([1] as [Float], [1])], to: path)
        let wrong = try Tensor([1] as [Float], [1]).to(.complex128)
        let error = failure { try Safetensors.write(["t": wrong], to: path) } as? SwanError
        #expect(error?.code == .cannotWrite)
        #expect(try directory.names == ["a.safetensors"])
        #expect(try SafetensorsFile(path: path).tensor("t").item() == 1)
    }

    @Test func namesAMissingDirectory() throws {
        let path = directory.path("no/a.safetensors")
        let error = failure { try Safetensors.write([:], to: path) } as? SwanError
        #expect(error?.code == .cannotWrite)
        #expect(
            error?.message
                == "\(path): cannot be created: No such file or directory; create its directory first"
        )
    }

    @Test func doesNotReplaceADirectory() throws {
        let path = directory.path("a.safetensors")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let error = failure { try Safetensors.write([:], to: path) } as? SwanError
        #expect(error?.code == .cannotWrite)
        #expect(try directory.names == ["a.safetensors"])
    }

    @Test func reportsAFullDisk() throws {
        let tensor = try Tensor.zeros([1 << 14])
        let error = failure { try Safetensors.write(["t": tensor], to: "/dev/full") } as? SwanError
        #expect(error?.code == .diskFull)
        #expect(error?.message == "/dev/full: cannot be written: No space left on device")
    }
}

private func bytes(of tensor: Tensor) throws -> [UInt8] { try tensor.withUnsafeBytes { Array($0) } }

/// The bytes of a safetensors file with this header and data.
func container(_ header: String, _ data: [UInt8], length: UInt64? = nil) -> [UInt8] {
    let count = length ?? UInt64(header.utf8.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) } + Array(header.utf8) + data
}
