import Foundation
import GoldenSupport
import Synchronization
import Testing

@testable import SwanSystem

/// What the system is asked for before it is needed.
@Suite struct LimitTests {
    @Test func aThreadRuns() throws {
        let ran = Mutex(false)
        let done = DispatchSemaphore(value: 0)
        try startThread("swan.test", stackBytes: 1 << 20) {
            ran.withLock { $0 = true }
            done.signal()
        }
        done.wait()
        #expect(ran.withLock { $0 })
    }

    /// More stack than there is address space.
    @Test func aThreadThatCannotBeMadeIsAnError() throws {
        let error = #expect(throws: SwanError.self) {
            try startThread("swan.test", stackBytes: 1 << 50) {}
        }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.contains("OMP_NUM_THREADS") == true)
    }

    @Test func memoryThatIsNotThere() throws {
        try AddressSpace.require(1 << 20, "try less")
        let error = #expect(throws: SwanError.self) {
            try AddressSpace.require(1 << 60, "try less")
        }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.hasSuffix("try less") == true)
    }

    @Test func aDiskIsNotThatLarge() throws {
        let folder = try TemporaryDirectory()
        try DiskSpace.require(1, for: folder.path("a"))
        let error = #expect(throws: SwanError.self) {
            try DiskSpace.require(1 << 60, for: folder.path("a"))
        }
        #expect(error?.code == .diskFull)
        #expect(error?.message.contains("cannot be written: No space left on device") == true)
        // Who creates the file tells of a folder that is not there.
        try DiskSpace.require(1 << 60, for: folder.path("none/a"))
    }
}
