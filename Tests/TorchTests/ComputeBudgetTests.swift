import Foundation
import Testing
import Torch

@Suite struct ComputeBudgetTests {
    /// Runs `body` on a dedicated thread.
    private func onThread<Result: Sendable>(
        _ body: @escaping @Sendable () -> Result
    ) async -> Result {
        await withCheckedContinuation { done in
            Thread { done.resume(returning: body()) }.start()
        }
    }

    @Test func budgetsApplyPerThread() async {
        func threads(_ budget: ComputeBudget?) async -> Int {
            await onThread {
                budget?.apply()
                return Engine.threads
            }
        }
        // A number that no other test requests.
        #expect(await threads(ComputeBudget(threads: 17)) == 17)
        #expect(await threads(nil) != 17)
        #expect(await threads(ComputeBudget(threads: 1)) == 1)
    }

    @Test func budgetsEndWithTheirWork() async {
        let (before, inside, nested, after) = await onThread {
            let before = Engine.threads
            let (inside, nested) = ComputeBudget(threads: 5).run {
                (ComputeBudget(threads: 3).run { Engine.threads }, Engine.threads)
            }
            return (before, inside, nested, Engine.threads)
        }
        #expect((inside, nested) == (3, 5))
        #expect(before == after)
    }

    @Test func partsHaveAtLeastOneThread() {
        let budget = ComputeBudget(threads: 5)
        #expect(budget.divided(by: 2) == ComputeBudget(threads: 2))
        #expect(budget.divided(by: 8) == ComputeBudget(threads: 1))
        #expect(ComputeBudget(threads: 0).threads == 1)
    }
}
