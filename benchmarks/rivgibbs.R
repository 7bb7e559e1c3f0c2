# Time bayesm's rivGibbs: prints the seconds until the library is there, of reading and of draws, and
# effective draws of beta_t as a share of the draws.
suppressMessages(library(bayesm))
imported <- proc.time()["elapsed"]
arguments <- commandArgs(trailingOnly = TRUE)
d <- read.csv(arguments[1])
draws <- as.integer(arguments[2])
set.seed(1)
data <- list(y = d$y, x = d$t, z = cbind(1, d$z), w = matrix(1, nrow(d), 1))
prior <- list(md = c(0, 0), Ad = diag(c(1, 0.01)), mbg = c(0, 50), Abg = diag(c(0.01, 0.01)),
              nu = 3, V = diag(2))
read <- proc.time()["elapsed"] - imported
took <- system.time(
  out <- rivGibbs(Data = data, Prior = prior, Mcmc = list(R = draws, keep = 1, nprint = 0))
)["elapsed"]
x <- out$betadraw[-seq_len(draws %/% 8)]
a <- acf(x, lag.max = min(200, length(x) - 1), plot = FALSE)$acf[-1]
cut <- which(a < 0.05)[1]
cat(imported, read, took, 1 / (1 + 2 * sum(a[seq_len(max(1, cut - 1))])), "\n")
