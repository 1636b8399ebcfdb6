import SwanDatasets
package import SwanSystem

/// Rows of a database of LMDB, in the layout of CausVid.
package struct DatabaseRows: LatentRows {
    private let database: LatentDatabase

    /// Opens a database.
    package init(_ path: String) throws(SwanError) { database = try LatentDatabase(path) }

    package var count: Int { database.count }

    package var shape: [Int] { database.shape }

    package func row(_ index: Int) throws(SwanError) -> LatentRow {
        let row = try database.row(index)
        return LatentRow(prompt: row.prompt, states: row.latents)
    }
}
