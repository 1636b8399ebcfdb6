import Foundation
package import SwanSystem
import Torch

/// What a `LatentDatabase` contains, after all rows have been read.
package struct LatentInspection: Sendable, Encodable {
    /// The mean and the standard deviation of all rows' latents of one state.
    package struct State: Sendable, Encodable {
        package let mean: Double
        package let standardDeviation: Double
    }

    package let path: String
    package let rows: Int
    /// [T, F, C, H, W].
    package let shape: [Int]
    /// From noise to clean.
    package let states: [State]
    /// The number of rows whose prompt is empty, and of those whose prompt another row has.
    package let emptyPrompts: Int
    package let repeatedPrompts: Int
    /// The characters of the longest prompt.
    package let longestPrompt: Int
    /// What is wrong, and with which row.
    package let faults: [String]

    /// The most faults that are listed.
    private static let mostFaults = 20

    /// Reads all rows.
    package init(_ path: String) throws(SwanError) {
        let database = try LatentDatabase(path)
        var sums = [(sum: Double, squares: Double)](repeating: (0, 0), count: database.shape[0])
        var prompts: [String] = []
        var faults: [String] = []
        var whole = 0
        for index in 0..<database.count {
            do throws(SwanError) {
                let row = try database.row(index)
                prompts.append(row.prompt)
                guard try row.latents.isAllFinite() else {
                    throw SwanError(.invalidData, "row \(index): latents are not finite")
                }
                for (state, latents) in try row.latents.to(.float64).unbound(0).enumerated() {
                    sums[state].sum += try latents.sum().item()
                    sums[state].squares += try (latents * latents).sum().item()
                }
                whole += 1
            } catch {
                if faults.count < Self.mostFaults { faults.append(error.message) }
            }
        }
        (self.path, rows, shape) = (path, database.count, database.shape)
        let elements = Double(whole * database.shape.dropFirst().reduce(1, *))
        states = sums.map { sum, squares in
            let mean = sum / elements
            return State(
                mean: mean,
                standardDeviation: max(0, squares / elements - mean * mean).squareRoot()
            )
        }
        emptyPrompts = prompts.count { $0.allSatisfy(\.isWhitespace) }
        repeatedPrompts = prompts.count - Set(prompts).count
        longestPrompt = prompts.map(\.count).max() ?? 0
        self.faults = faults
    }

    /// For the terminal.
    package var lines: [String] {
        let names = ["states", "latent frames", "channels", "height", "width"]
        let sizes = zip(names, shape).map { "\($1) \($0)" }.joined(separator: ", ")
        var lines = ["\(path): \(rows) rows of \(sizes)"]
        for (index, state) in states.enumerated() {
            let format = "state %d: mean %.4f, standard deviation %.4f"
            lines.append(String(format: format, index, state.mean, state.standardDeviation))
        }
        lines.append(
            "prompts: \(emptyPrompts) empty, \(repeatedPrompts) repeated, longest \(longestPrompt) "
                + "characters"
        )
        return lines + faults.map { "fault: \($0)" }
    }
}
