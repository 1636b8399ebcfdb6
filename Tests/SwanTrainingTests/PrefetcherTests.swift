import Foundation
import SwanThreads
import Synchronization
import SwanModels
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem

@Suite struct PrefetcherTests {
    @Test(arguments: [1, 5])
    func itemsArriveInOrder(threads: Int) throws {
        let items = try Prefetcher(3..<40, threads: threads) { index in
            // Some items take longer than the ones after them.
            Thread.sleep(forTimeInterval: index.isMultiple(of: 4) ? 0.004 : 0)
            return index
        }
        var taken: [Int] = []
        while let next = try items.next(1) { taken += next }
        #expect(taken == Array(3..<40))
    }

    @Test func limitsTheItemsMadeAhead() throws {
        let made = Mutex(0)
        let items = try Prefetcher(0..<100, ahead: 7, threads: 3) { index in
            made.withLock { $0 += 1 }
            return index
        }
        _ = try items.next(2)
        Thread.sleep(forTimeInterval: 0.1)
        items.cancel()
        #expect((2...9).contains(made.withLock { $0 }))
        #expect(try items.next(1) == nil)
    }

    @Test func errorsFollowTheItemsBeforeThem() throws {
        let items = try Prefetcher(0..<100, threads: 4) { index in
            if index == 6 { throw SwanError(.invalidData, "six") }
            return index
        }
        #expect(try items.next(6) == Array(0..<6))
        let error = #expect(throws: SwanError.self) { try items.next(1) }
        #expect(error?.message == "six")
        items.cancel()
    }

    @Test func stoppedPoolsDoNotFill() throws {
        let recipe = try TinyRecipe.make()
        let stop = CancellationFlag()
        let pool = LatentPool(
            ClipEncoder(
                clips: try ClipMix(recipe.data, seed: recipe.seed),
                styles: recipe.styles,
                codec: try LatentCodec(TinyRecipe.linearCode.get(), recipe.vae.model),
                options: recipe.transformer.training,
                size: recipe.transformer.phases[0].size,
                firstIndex: 1 << 40,
                seed: recipe.seed
            ),
            phase: recipe.transformer.phases[0],
            stop: stop
        )
        try pool.fill(0..<1)
        stop.cancel()
        try pool.fill(0..<3)
        #expect(throws: Never.self) { try pool.pair(0, style: 0) }
        #expect(throws: SwanError.self) { try pool.pair(1, style: 0) }
    }

    /// The contents of a pool do not depend on the number of threads that fill it.
    @Test func poolsDoNotDependOnThreads() throws {
        let recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        let codec = try LatentCodec(TinyRecipe.linearCode.get(), recipe.vae.model)
        func pool(threads: Int) -> LatentPool {
            LatentPool(
                ClipEncoder(
                    clips: clips,
                    styles: recipe.styles,
                    codec: codec,
                    options: recipe.transformer.training,
                    size: recipe.transformer.phases[0].size,
                    firstIndex: 1 << 40,
                    seed: recipe.seed,
                    turns: DispatchSemaphore(value: threads)
                ),
                phase: recipe.transformer.phases[0],
                threads: threads
            )
        }
        let (one, several) = (pool(threads: 1), pool(threads: 4))
        for range in [0..<2, 0..<2, 1..<4, 4..<5] {
            for pool in [one, several] { try pool.fill(range) }
            for number in range {
                for style in recipe.styles.indices {
                    let (a, b) = try (
                        one.pair(number, style: style), several.pair(number, style: style)
                    )
                    #expect(try a.source.array(of: Float.self) == b.source.array())
                    #expect(try a.target.array(of: Float.self) == b.target.array())
                }
            }
            #expect(throws: SwanError.self) { try several.pair(range.upperBound, style: 0) }
        }
    }
}
