import Foundation
package import SwanEvaluation
import SwanSystem

/// A measured row.
package struct ServeBenchRow: Sendable, Encodable {
    /// The row.
    package let row: ServeRow
    /// What was measured.
    package let work: String
    /// The figures; empty if the row could not be measured here.
    package let figures: [Figure]
    /// What explains the figures, or why there are none.
    package let note: String?

    private enum CodingKeys: String, CodingKey { case row, work, figures, note, holds }

    init(_ row: ServeRow, _ work: String, _ figures: [Figure], note: String? = nil) {
        self.row = row
        self.work = work
        self.figures = figures
        self.note = note
    }

    /// Whether the row was measured and all figures meet their bounds.
    package var holds: Bool { !figures.isEmpty && figures.allSatisfy(\.holds) }

    /// The row as human-readable lines.
    package var line: String {
        let verdict = figures.isEmpty ? "absent" : holds ? "ok" : "MISSED"
        let name = row.rawValue.padding(toLength: 12, withPad: " ", startingAt: 0)
        let begin = verdict.padding(toLength: 8, withPad: " ", startingAt: 0) + name + work
        return ([begin] + figures.map(\.text) + [note].compactMap(\.self))
            .joined(separator: "\n        ")
    }

    /// Encodes all properties, and whether the row meets its bounds.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(row, forKey: .row)
        try values.encode(work, forKey: .work)
        try values.encode(figures, forKey: .figures)
        try values.encodeIfPresent(note, forKey: .note)
        try values.encode(holds, forKey: .holds)
    }
}

/// The results of a benchmark of `swan serve`.
package struct ServeBenchReport: Sendable, Encodable {
    /// The version of the schema; it increases when a key is removed or its meaning changes.
    package let schemaVersion = 1
    /// The machine.
    package let machine = Machine.current
    /// The processes that were running or waiting for a core when the benchmark began, over the last minute. Above
    /// zero, others were using the machine.
    package let loadAverage = ServeBenchReport.loadAverage
    /// The version of the program, and how it was built.
    package let build: String
    /// The model, as specified.
    package let model: String
    /// The results.
    package internal(set) var rows: [ServeBenchRow] = []

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", machine, loadAverage = "load_average", build, model
        case rows
    }

    init(model: String, version: String) {
        self.model = model
        #if DEBUG
            build = "swan \(version), debug"
        #else
            build = "swan \(version), release"
        #endif
    }

    /// Whether all rows meet their bounds.
    package var holds: Bool { rows.allSatisfy(\.holds) }

    /// A human-readable summary of the setup.
    package var heading: String {
        "\(machine.processor), \(machine.cores) cores, load average "
            + String(format: "%.2f", loadAverage) + "; \(build), model \(model)"
    }

    /// A human-readable summary: how many rows meet their bounds.
    package var verdict: String {
        "\(rows.count { $0.holds }) of \(rows.count) rows meet their bounds"
    }

    private static var loadAverage: Double {
        var average = 0.0
        return getloadavg(&average, 1) == 1 ? average : 0
    }
}
