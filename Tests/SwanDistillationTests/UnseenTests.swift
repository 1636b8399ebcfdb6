import Foundation
import Testing

/// Configurations that nobody chose: `Goldens/unseen.py` makes them at random, in the folder that the
/// variable SWAN_UNSEEN names. Without it, there are none.
@Suite struct UnseenTests {
    /// The goldens whose names begin with a prefix, as paths from Goldens/.
    private static func names(_ prefix: String) -> [String] {
        guard let folder = ProcessInfo.processInfo.environment["SWAN_UNSEEN"] else { return [] }
        let up = String(repeating: "../", count: 40)
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.filter { $0.hasPrefix(prefix) && $0.hasSuffix(".safetensors") }.sorted()
            .map { up + folder.dropFirst() + "/" + $0.dropLast(".safetensors".count) }
    }

    @Test(arguments: names("unseen_dmd_")) func distributionMatching(name: String) throws {
        let tests = DistributionMatchingTests()
        let errors = (try tests.generatorGradients(name), try tests.criticGradients(name))
        report(name, errors)
    }

    @Test(arguments: names("unseen_rollout_")) func selfForcing(name: String) throws {
        report(name, try SelfForcingTests().errors(name))
    }

    private func report(_ name: String, _ errors: (Double, Double)) {
        let file = URL(fileURLWithPath: name).lastPathComponent
        print("\(file): errors of gradients \(errors.0) and \(errors.1)")
    }
}
