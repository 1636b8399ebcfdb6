import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem
import SwanTiny

/// The styles of a model.
struct TaughtStyles {
    /// Those that the nearest one is sought among.
    let known: [Style]
    /// Those that streams are run for, as numbers among them.
    let chosen: [Int]

    /// Those of a model's recipe, which `swan train` leaves in its folder. Without a recipe they are
    /// the bundled ones, and which of them the model was taught has to be said.
    init(of model: String, chosen names: [String]?) throws {
        let recipe = (BundledModels.folder(model) ?? model) + "/recipe.yaml"
        let hasRecipe = FileManager.default.fileExists(atPath: recipe)
        let known = hasRecipe ? try Recipe(contentsOf: recipe).styles : Style.bundled
        guard hasRecipe || names != nil else {
            throw SwanError(
                .invalidRequest,
                "\(recipe) is not there to say which styles the model was taught: name them with "
                    + "--styles, of \(Self.list(known))"
            )
        }
        self.known = known
        chosen =
            try names?.map { name in
                guard let position = known.firstIndex(where: { $0.name == name }) else {
                    throw SwanError(
                        .invalidRequest,
                        "the model was taught no style '\(name)'; there are \(Self.list(known))"
                    )
                }
                return position
            } ?? Array(known.indices)
    }

    private static func list(_ styles: [Style]) -> String {
        styles.map(\.name).joined(separator: ", ")
    }
}
