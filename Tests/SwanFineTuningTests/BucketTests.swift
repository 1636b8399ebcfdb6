import SwanSystem
import SwanTraining
import Testing

@testable import SwanFineTuning

@Suite struct BucketTests {
    private typealias Bucket = FineTuningSettings.Bucket

    /// Every row comes as often an epoch as it is listed, in batches of one bucket.
    @Test func drawsEveryRow() {
        let order = BucketOrder([[0, 1, 2, 2], [3, 4, 5]], size: 2, seed: 7)
        #expect(order.batches == 4)
        var epochs: [[[Int]]] = []
        for epoch in 0..<3 {
            let batches = (0..<4).map { order.rows(4 * epoch + $0) }
            epochs.append(batches)
            for batch in batches {
                let ofFirst = batch.count { $0 < 3 }
                #expect(ofFirst == 0 || ofFirst == 2)
            }
            let drawn: [Int] = Array(batches.joined())
            func count(_ row: Int) -> Int { drawn.count { $0 == row } }
            let counts = (0...5).map(count)
            #expect(counts[..<3] == [1, 1, 2])
            // Three rows in batches of two: the last batch begins the bucket again.
            #expect(counts[3...].sorted() == [1, 1, 2])
        }
        #expect(epochs[0] != epochs[1] || epochs[1] != epochs[2])
        let again = BucketOrder([[0, 1, 2, 2], [3, 4, 5]], size: 2, seed: 7)
        #expect((0..<4).map { again.rows(8 + $0) } == epochs[2])
    }
}
