import Foundation
import Testing
import Torch

@testable import TorchNN
import SwanSystem

/// What is made on another thread while the caller goes on.
@Suite struct ReadAheadTests {
    @Test func valuesComeInTheirOrderFromAnotherThread() throws {
        let ahead = try ReadAhead<(Int, Bool)>(.cpu)
        defer { ahead.stop() }
        let caller = pthread_self()
        for index in 0..<50 {
            ahead.start { (index, pthread_equal(pthread_self(), caller) != 0) }
            let (value, isCaller) = try ahead.take()
            #expect(value == index && !isCaller)
        }
    }

    @Test func anErrorIsThrownWhereTheValueIsTaken() throws {
        let ahead = try ReadAhead<Int>(.cpu)
        defer { ahead.stop() }
        ahead.start { () throws(SwanError) in throw SwanError(.io, "the disk is gone") }
        let error = #expect(throws: SwanError.self) { try ahead.take() }
        #expect(error?.code == .io)
        // The thread goes on.
        ahead.start { 3 }
        #expect(try ahead.take() == 3)
        #expect(throws: SwanError.self) { try ahead.take() }
    }

    /// The thread holds what it works for, and ends when it is told to, with or without a value left.
    @Test(arguments: [false, true]) func theThreadEnds(pending: Bool) throws {
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
