import SwanSystem
import SwanTraining
import Torch

private let qrOp = Operator("aten::linalg_qr")

/// Vectors for what prompts say: a claim is the sum of one vector for each thing that it says, all
/// of length 1 and orthogonal, scaled to a mean square of 1.
struct SceneVectors {
    /// The number of vectors; they need at least as many dimensions.
    static let count = 1 + kinds + 2 * (perMover + perShot)
    private static let kinds = DrawnScene.Kind.allCases.count
    private static let perMover =
        Hue.allCases.count + Form.allCases.count + Heading.allCases.count + Pace.allCases.count
    private static let perShot = Backdrop.allCases.count

    /// [count, dim].
    let table: Tensor

    /// Creates the vectors of a seed.
    init(dim: Int, seed: UInt64) throws(SwanError) {
        guard dim >= Self.count else {
            throw SwanError(
                .invalidRecipe,
                "text.model.d_model: \(dim) dimensions are too few for the \(Self.count) "
                    + "vectors of what prompts can say"
            )
        }
        let generator = try Generator(seed: seed, purpose: .styleVectors)
        let basis = try qrOp.tensors(Tensor.randn([dim, Self.count], generator), "reduced")[0]
        table = try basis.transposed(0, 1).contiguous()
    }

    /// The indices of what a claim says; that of nothing for nil, which stands for no prompt.
    static func indices(_ claim: SceneClaim?) -> [Int] {
        guard let claim else { return [0] }
        var found = [1 + place(of: claim.kind)]
        var slot = 0
        for (number, shot) in claim.shots.prefix(2).enumerated() {
            for mover in shot.movers.prefix(2) {
                found += indices(mover, slot)
                slot += 1
            }
            guard let backdrop = shot.backdrop else { continue }
            found.append(1 + kinds + 2 * perMover + number * perShot + place(of: backdrop))
        }
        return found
    }

    private static func indices(_ mover: SceneClaim.Mover, _ slot: Int) -> [Int] {
        var first = 1 + kinds + slot * perMover
        var found = [first + place(of: mover.hue)]
        first += Hue.allCases.count
        found.append(first + place(of: mover.form))
        first += Form.allCases.count
        found.append(first + place(of: mover.heading))
        first += Heading.allCases.count
        if let pace = mover.pace { found.append(first + place(of: pace)) }
        return found
    }

    private static func place<Word: CaseIterable & Equatable>(of word: Word) -> Int
    where Word.AllCases == [Word] {
        Word.allCases.firstIndex(of: word) ?? 0
    }

    /// Returns the vectors of claims: [B, dim].
    func callAsFunction(_ claims: [SceneClaim?]) throws(SwanError) -> Tensor {
        let scale = Double(table.size(1))
        var rows: [Float] = []
        for claim in claims {
            let said = Self.indices(claim)
            var row = [Float](repeating: 0, count: Self.count)
            for index in said { row[index] = Float((scale / Double(said.count)).squareRoot()) }
            rows += row
        }
        return try matmul(Tensor(rows, [claims.count, Self.count]), table)
    }

    /// Whether embeddings [dim] of each claim are closer to it than to any claim that differs in
    /// one thing: what is said has larger components than what is not.
    func understood(_ embeddings: Tensor, _ claims: [SceneClaim?]) throws(SwanError) -> [Bool] {
        let parts = try matmul(embeddings, table.transposed(0, 1))  // [B, count]
        let rows = try parts.array(of: Float.self)
        return claims.indices.map { row in
            let said = Set(Self.indices(claims[row]))
            let values = rows[(row * Self.count)..<((row + 1) * Self.count)]
            let half = 0.5 * (Float(table.size(1)) / Float(said.count)).squareRoot()
            return values.enumerated().allSatisfy { said.contains($0) == ($1 > half) }
        }
    }
}
