import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem
import SwanTiny

/// The styles that a model was trained on.
struct TaughtStyles {
    /// The styles among which the nearest one is determined.
    let known: [Style]
    /// The styles to run streams for, as indices into `known`.
    let chosen: [Int]

    /// Reads the styles from the model's recipe, which `swan train` leaves in its folder. Without a recipe,
    /// they are the bundled ones, and `names` must list those that the model was trained on.
    ///
    /// - Parameter looks: Looks that LoRAs add; if there are any, they are run by default.
    init(of model: String, chosen names: [String]?, looks: [Style] = []) throws {
        let recipe = (ModelLocation.path(model)) + "/recipe.yaml"
        let hasRecipe = FileManager.default.fileExists(atPath: recipe)
        let taught = hasRecipe ? try Recipe(contentsOf: recipe).styles : Style.bundled
        let known = taught.filter { style in !looks.contains { $0.name == style.name } } + looks
        guard hasRecipe || names != nil else {
            throw SwanError(
                .invalidRequest,
                "\(recipe): no such file, so the model's styles are not known: specify them with "
                    + "--styles, out of \(Self.list(known))"
            )
        }
        self.known = known
        let wanted = names ?? (looks.isEmpty ? nil : looks.map(\.name))
        chosen =
            try wanted?.map { name in
                guard let position = known.firstIndex(where: { $0.name == name }) else {
                    throw SwanError(
                        .invalidRequest,
                        "the model has no style '\(name)'; expected one of \(Self.list(known))"
                    )
                }
                return position
            } ?? Array(known.indices)
    }

    private static func list(_ styles: [Style]) -> String {
        styles.map(\.name).joined(separator: ", ")
    }
}
