import Foundation
import Testing
import Torch

@testable import TorchNN
import SwanSystem

/// Values produced on another thread ahead of the caller.
@Suite struct ReadAheadTests {
    @Test func producesValuesInOrderOnAnotherThread() throws {
        let ahead = try ReadAhead<(Int, Bool)>(.cpu)
        defer { ahead.stop() }
        let caller = pthread_self()
        for index in 0..<50 {
            ahead.start { (index, pthread_equal(pthread_self(), caller) != 0) }
            let (value, isCaller) = try ahead.take()
            #expect(value == index && !isCaller)
        }
    }

    @Test func throwsWhenTheFailedValueIsTaken() throws {
        let ahead = try ReadAhead<Int>(.cpu)
        defer { ahead.stop() }
        ahead.start { () throws(SwanError) in throw SwanError(.io, "the disk is gone") }
        let error = #expect(throws: SwanError.self) { try ahead.take() }
        #expect(error?.code == .io)
        // The thread continues.
        ahead.start { 3 }
        #expect(try ahead.take() == 3)
        #expect(throws: SwanError.self) { try ahead.take() }
    }

    /// The thread retains the object until it is stopped, whether or not a value is pending.
    @Test(arguments: [false, true]) func endsTheThread(pending: Bool) throws {
        var ahead: ReadAhead<Int>? = try ReadAhead(.cpu)
        weak let left = ahead
        if pending { ahead?.start { 1 } }
        ahead?.stop()
        ahead = nil
        let end = Date() + 10
        while left != nil, Date() < end { usleep(1_000) }
        #expect(left == nil)
    }
}
