public import SwanCheckpoints

extension KnownLooks {
    /// What a model of these styles knows; nil where none of them is "no change", since no prompt asks
    /// such a model to leave the video as it is.
    public init?(_ styles: [Style]) {
        guard styles.contains(where: \.changesNothing) else { return nil }
        self.init(
            noChange: PromptPhrases.requestsToKeep,
            known: styles.filter { !$0.changesNothing }.map { style in
                Look(name: style.title, phrases: style.phrasings + style.words)
            }
        )
    }
}
