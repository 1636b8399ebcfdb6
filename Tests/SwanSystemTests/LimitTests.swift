import Foundation
import GoldenSupport
import Synchronization
import Testing

@testable import SwanSystem

/// Requests for threads, memory and disk space.
@Suite struct LimitTests {
    @Test func startsAThread() throws {
        let ran = Mutex(false)
        let done = DispatchSemaphore(value: 0)
        try startThread("swan.test", stackBytes: 1 << 20) {
            ran.withLock { $0 = true }
            done.signal()
        }
        done.wait()
        #expect(ran.withLock { $0 })
    }

    /// Requests a stack larger than the address space.
    @Test func reportsAThreadThatCannotBeCreated() throws {
        let error = #expect(throws: SwanError.self) {
            try startThread("swan.test", stackBytes: 1 << 50) {}
        }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.contains("OMP_NUM_THREADS") == true)
    }

    @Test func reportsMissingMemory() throws {
        try AddressSpace.require(1 << 20, "try less")
        let error = #expect(throws: SwanError.self) {
            try AddressSpace.require(1 << 60, "try less")
        }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.hasSuffix("try less") == true)
    }

    @Test func reportsMissingDiskSpace() throws {
        let folder = try TemporaryDirectory()
        try DiskSpace.require(1, for: folder.path("a"))
        let error = #expect(throws: SwanError.self) {
            try DiskSpace.require(1 << 60, for: folder.path("a"))
        }
        #expect(error?.code == .diskFull)
        #expect(error?.message.contains("cannot be written: No space left on device") == true)
        // A missing folder is reported when the file is created.
        try DiskSpace.require(1 << 60, for: folder.path("none/a"))
    }
}
