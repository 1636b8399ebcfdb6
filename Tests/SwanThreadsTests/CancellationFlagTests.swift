import Testing

@testable import SwanThreads

@Suite struct CancellationFlagTests {
    @Test func jobsContinueUntilCancelled() throws {
        let flag = CancellationFlag()
        #expect(!flag.isCancelled)
        try flag.check()
        flag.cancel()
        #expect(flag.isCancelled)
        #expect(throws: CancellationError.self) { try flag.check() }
    }

    @Test func cancellingReportsUnsavedWork() {
        let flag = CancellationFlag()
        #expect(!flag.cancel())
        flag.note(hasUnsavedWork: true)
        #expect(flag.cancel())
        flag.note(hasUnsavedWork: false)
        #expect(!flag.cancel())
    }
}
