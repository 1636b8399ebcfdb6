import Foundation
package import SwanSystem
package import Torch

/// A video in a dataset.
package struct LatentRow: Sendable {
    package let prompt: String
    /// Latents at each step of a trajectory, noise first and clean last [T, F, C, H, W], in float32;
    /// T is 1 if there are only clean ones.
    package let latents: Tensor

    /// Creates a row.
    package init(prompt: String, latents: Tensor) {
        self.prompt = prompt
        self.latents = latents
    }
}

/// Latents and their prompts in a database of LMDB, in the layout of CausVid.
///
/// Keys: `latents_{i}_data`, float16 in C order; `prompts_{i}_data`, UTF-8; `latents_shape` and
/// `prompts_shape`, the sizes as decimals with blanks between, of which the first is the number of
/// rows. A row has the shape [F, C, H, W], or [T, F, C, H, W] with the states of a sampling run,
/// noise first and clean last. Source: CausVid, `causvid/ode_data/create_lmdb_iterative.py`.
package final class LatentDatabase: Sendable {
    /// Where the database is.
    package let path: String
    /// The number of rows.
    package let count: Int
    /// The shape of each row, [T, F, C, H, W].
    package let shape: [Int]
    private let file: KeyValueFile

    /// The most elements of a row that are believed.
    private static let mostElements = 1 << 32

    /// Opens a database and checks its first row.
    ///
    /// - Throws: `invalidFile`, naming the key that is missing or wrong.
    package init(_ path: String) throws(SwanError) {
        (self.path, file) = (path, try KeyValueFile(reading: path))
        let sizes = try Self.sizes("latents_shape", file, path)
        guard [5, 6].contains(sizes.count), sizes[0] > 0 else {
            throw SwanError(
                .invalidFile,
                "\(path): latents_shape is \(sizes), not [N, F, C, H, W] or [N, T, F, C, H, W]"
            )
        }
        count = sizes[0]
        shape = sizes.count == 5 ? [1] + sizes.dropFirst() : Array(sizes.dropFirst())
        let prompts = try Self.sizes("prompts_shape", file, path)
        guard prompts == [count] else {
            throw SwanError(
                .invalidFile,
                "\(path): prompts_shape is \(prompts), but there are \(count) rows of latents"
            )
        }
        guard Self.elements(shape) <= Self.mostElements else {
            throw SwanError(.invalidFile, "\(path): no row can have the shape \(shape)")
        }
        _ = try row(0)
    }

    /// The product of sizes, or the largest number.
    private static func elements(_ shape: [Int]) -> Int {
        shape.reduce(1) { product, size in
            let (result, overflow) = product.multipliedReportingOverflow(by: size)
            return overflow ? .max : result
        }
    }

    private static func sizes(
        _ key: String,
        _ file: KeyValueFile,
        _ path: String
    ) throws(SwanError) -> [Int] {
        guard let text = try file.text(key) else {
            throw SwanError(.invalidFile, "\(path): has no key '\(key)': it is not such a dataset")
        }
        let sizes = text.split(separator: " ").map { Int($0) }
        guard !sizes.isEmpty, sizes.allSatisfy({ ($0 ?? 0) > 0 }) else {
            throw SwanError(
                .invalidFile,
                "\(path): \(key) is '\(text.printable(limit: 80))', not sizes"
            )
        }
        return sizes.compactMap { $0 }
    }

    /// Reads a row.
    ///
    /// - Throws: `invalidFile` if it is missing, or has another number of elements than the first.
    package func row(_ index: Int) throws(SwanError) -> LatentRow {
        let key = "latents_\(index)_data"
        let latents = try file.read(key) { bytes throws(SwanError) in
            let expected = shape.reduce(1, *) * DType.float16.size
            guard bytes.count == expected else {
                throw SwanError(
                    .invalidFile,
                    "\(path): \(key) has \(bytes.count) bytes, but a row of the shape \(shape) has "
                        + "\(expected); rows of other shapes need a dataset of their own"
                )
            }
            let half = try Tensor.empty(shape, .float16)
            try half.withUnsafeBytes { $0.copyMemory(from: bytes) }
            return try half.to(.float32)
        }
        guard let latents, let prompt = try file.text("prompts_\(index)_data") else {
            throw SwanError(
                .invalidFile,
                "\(path): row \(index) of \(count) is missing: the database is not complete"
            )
        }
        return LatentRow(prompt: prompt, latents: latents)
    }
}
